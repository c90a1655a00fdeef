// The flocks: one row each, edited in place. Every edit is one `update` of one field.

import { createBadge } from './badge.js'
import { element, fieldInput, keyedList, labelled } from './dom.js'
import { deleteWithUndo } from './undo.js'

const STATUSES = ['produccion', 'cria', 'recria', 'descanso', 'vendido']
const FIELDS = [
  ['name', 'Name', {}],
  ['breed', 'Breed', {}],
  ['count', 'Birds', { type: 'number', step: '1' }],
  ['status', 'Status', { options: STATUSES }],
]

/**
 * @param {{ db: any, notices: any }} parts
 * @returns {HTMLElement}
 */
export function createFlocks({ db, notices }) {
  const flocks = db.collection('flocks')
  const list = element('ul', { class: 'rows flocks', dataset: { testid: 'flocks' } })
  const heading = element('h2', {}, 'Flocks')
  const count = element('p', { class: 'hint' })
  const form = createForm()
  const rows = keyedList(list, { key: (flock) => flocks.keyOf(flock.id), create: createRow, heading })

  const refuse = (why) => notices.say(why, { alarm: true })

  function createRow(first) {
    let flock = first
    const save = (field) => async (value) => flock[field] === value || notices.watch(flocks.update(flock.id, { [field]: value }))
    const badge = createBadge()
    const inputs = FIELDS.map(([field, title, options]) => [field, title, fieldInput({ label: title, testid: `flock-${field}`, save: save(field), refuse, ...options })])
    const remove = element('button', { type: 'button', class: 'quiet danger', dataset: { testid: 'flock-delete' }, onclick: () => removeFlock(flock) }, 'Delete')
    const node = element('li', { class: 'row', dataset: { testid: 'flock', id: first.id } },
      inputs.map(([, title, input]) => labelled(title, input.node)), element('div', { class: 'row-end' }, badge.node, remove))
    return {
      node,
      showState: () => badge.show(flocks.state(flock.id)),
      update(row) {
        flock = row
        node.dataset.id = row.id
        for (const [field, title, input] of inputs) {
          if (field === 'status') offer(input.node, row.status)
          input.node.setAttribute('aria-label', `${title} of ${row.name}`)
          input.show(row[field])
        }
        remove.setAttribute('aria-label', `Delete flock ${row.name}`)
        badge.show(flocks.state(row.id))
      },
    }
  }

  function createForm() {
    const [name, breed] = ['name', 'breed'].map((field) => element('input', { type: 'text', required: true, autocomplete: 'off', dataset: { testid: `new-flock-${field}` } }))
    const birds = element('input', { type: 'number', required: true, min: '0', step: '1', dataset: { testid: 'new-flock-count' } })
    async function add(event) {
      event.preventDefault()
      if (!await notices.watch(flocks.insert({ name: name.value, breed: breed.value, count: birds.valueAsNumber, status: STATUSES[0] }))) return
      event.target.reset()
      name.focus()
    }
    return element('details', { class: 'card' },
      element('summary', { dataset: { testid: 'new-flock-open' } }, 'Add a flock'),
      element('form', { class: 'fields', onsubmit: add },
        labelled('Name', name), labelled('Breed', breed), labelled('Birds', birds),
        element('button', { type: 'submit', dataset: { testid: 'new-flock-add' } }, 'Add')))
  }

  function removeFlock(flock) {
    return deleteWithUndo({ collection: flocks, row: flock, text: `Flock '${flock.name}' was deleted.`, notices, rows })
  }

  function show() {
    const all = flocks.getSnapshot()
    rows.show(all)
    count.textContent = all.length === 0 ? 'No flocks. Add one above.' : `${all.length} flocks, ${all.reduce((sum, flock) => sum + (Number(flock.count) || 0), 0).toLocaleString()} birds. Click a value to change it.`
  }

  flocks.subscribe(show)
  // A record's state also moves when nothing in it changes: sent, confirmed, refused.
  db.status.subscribe(() => rows.each((entry) => entry.showState()))
  show()
  return element('div', {}, heading, form, count, list)
}

// A value that the list of choices does not have is still shown, never replaced.
function offer(select, value) {
  if (typeof value !== 'string' || [...select.options].some((option) => option.value === value)) return
  select.append(element('option', { value }, value))
}
