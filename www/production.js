// Daily production: the latest days that match the filter, edited in place, one form for a new day.

import { createBadge } from './badge.js'
import { element, fieldInput, keyedList, labelled } from './dom.js'
import { deleteWithUndo } from './undo.js'

const LIMIT = 30
const FIELDS = [
  ['eggsCollected', 'Eggs', { type: 'number', step: '1' }],
  ['deaths', 'Deaths', { type: 'number', step: '1' }],
  ['notes', 'Notes', {}],
]

/**
 * @param {{ db: any, notices: any }} parts
 * @returns {HTMLElement}
 */
export function createProduction({ db, notices }) {
  const days = db.collection('dailyProduction')
  const flocks = db.collection('flocks')
  const list = element('ul', { class: 'rows production', dataset: { testid: 'production' } })
  const heading = element('h2', {}, 'Daily production')
  const rows = keyedList(list, { key: (day) => days.keyOf(day.id), create: createRow, heading })
  const hint = element('p', { class: 'hint', role: 'status' })
  const flockFilter = element('select', { dataset: { testid: 'filter-flock' }, onchange: search })
  const from = element('input', { type: 'date', dataset: { testid: 'filter-from' }, onchange: search })
  const to = element('input', { type: 'date', dataset: { testid: 'filter-to' }, onchange: search })
  const newDay = createForm()

  let found = null
  let leave = () => {}
  function search() {
    const where = {}
    if (flockFilter.value) where.flockId = flockFilter.value
    if (from.value || to.value) where.date = { ...(from.value ? { gte: from.value } : {}), ...(to.value ? { lte: to.value } : {}) }
    leave()
    found = days.query({ where, orderBy: '-date', limit: LIMIT })
    leave = found.subscribe(show)
    show()
  }

  function show() {
    const shown = found.getSnapshot()
    rows.show(shown)
    hint.textContent = shown.length === 0 ? 'No day matches.' : `The latest ${shown.length} of ${days.count().toLocaleString()} entries.`
  }

  const refuse = (why) => notices.say(why, { alarm: true })

  function createRow(first) {
    let day = first
    const badge = createBadge()
    const when = element('span', { class: 'when' })
    const save = (field) => async (value) => day[field] === value || notices.watch(days.update(day.id, { [field]: value }))
    const inputs = FIELDS.map(([field, title, options]) => [field, title, fieldInput({ label: title, testid: `day-${field}`, save: save(field), refuse, ...options })])
    const remove = element('button', { type: 'button', class: 'quiet danger', dataset: { testid: 'day-delete' }, onclick: () => removeDay(day) }, 'Delete')
    const node = element('li', { class: 'row', dataset: { testid: 'day', id: first.id } },
      when, inputs.map(([, title, input]) => labelled(title, input.node)), element('div', { class: 'row-end' }, badge.node, remove))
    return {
      node,
      showState: () => badge.show(days.state(day.id)),
      update(row) {
        day = row
        node.dataset.id = row.id
        const name = `${row.date}, ${flocks.get(row.flockId)?.name ?? 'unknown flock'}`
        when.textContent = name
        for (const [field, title, input] of inputs) {
          input.node.setAttribute('aria-label', `${title} on ${name}`)
          input.show(row[field])
        }
        remove.setAttribute('aria-label', `Delete the entry of ${name}`)
        badge.show(days.state(row.id))
      },
    }
  }

  function removeDay(day) {
    return deleteWithUndo({ collection: days, row: day, text: `The entry of ${day.date} was deleted.`, notices, rows })
  }

  function createForm() {
    const flock = element('select', { name: 'flock', required: true, dataset: { testid: 'new-flock' } })
    const date = element('input', { type: 'date', name: 'date', required: true, value: today(), dataset: { testid: 'new-date' } })
    const eggs = element('input', { type: 'number', name: 'eggs', required: true, min: '0', step: '1', dataset: { testid: 'new-eggs' } })
    const deaths = element('input', { type: 'number', name: 'deaths', required: true, min: '0', step: '1', value: '0', dataset: { testid: 'new-deaths' } })
    const notes = element('input', { type: 'text', name: 'notes', dataset: { testid: 'new-notes' } })
    async function add(event) {
      event.preventDefault()
      const write = days.insert({
        flockId: flock.value, date: date.value, eggsCollected: eggs.valueAsNumber, eggsBroken: 0, deaths: deaths.valueAsNumber, notes: notes.value,
      })
      if (!await notices.watch(write)) return
      eggs.value = ''
      notes.value = ''
      eggs.focus()
    }
    const form = element('form', { class: 'card new-day', onsubmit: add },
      element('h3', {}, 'Add a day'),
      element('div', { class: 'fields' },
        labelled('Flock', flock), labelled('Date', date), labelled('Eggs', eggs), labelled('Deaths', deaths), labelled('Notes', notes),
        element('button', { type: 'submit', dataset: { testid: 'new-add' } }, 'Add')))
    return { form, flock }
  }

  function showFlocks() {
    const filtered = flockFilter.value
    const options = () => flocks.getSnapshot().map((flock) => element('option', { value: flock.id }, flock.name))
    for (const [select, first] of [[flockFilter, [element('option', { value: '' }, 'All flocks')]], [newDay.flock, []]]) {
      const chosen = select.value
      select.replaceChildren(...first, ...options())
      if ([...select.options].some((option) => option.value === chosen)) select.value = chosen
    }
    // The flock of the filter may be gone, and with it what the list would have to say.
    if (found) flockFilter.value === filtered ? show() : search()
  }

  flocks.subscribe(showFlocks)
  db.status.subscribe(() => rows.each((entry) => entry.showState()))
  showFlocks()
  search()
  return element('div', {},
    heading,
    element('div', { class: 'filters' }, labelled('Flock', flockFilter), labelled('From', from), labelled('To', to)),
    newDay.form, hint, list)
}

function today() {
  const now = new Date()
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10)
}
