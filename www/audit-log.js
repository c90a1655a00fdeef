// The end of the audit log: facts that are only ever added, so two devices that write the same line keep both.

import { createBadge } from './badge.js'
import { element, formatTime, keyedList } from './dom.js'

const LIMIT = 20

/**
 * @param {{ db: any, notices: any }} parts
 * @returns {HTMLElement}
 */
export function createAuditLog({ db, notices }) {
  const log = db.collection('auditLog')
  const latest = log.query({ orderBy: '-ts', limit: LIMIT })
  const count = element('p', { class: 'hint', dataset: { testid: 'audit-count' } })
  const heading = element('h2', {}, 'Audit log')
  const list = element('ol', { class: 'rows audit', dataset: { testid: 'audit' } })
  const rows = keyedList(list, { key: (entry) => entry.id, create: createRow, heading })
  const detail = element('input', { type: 'text', required: true, dataset: { testid: 'audit-detail' } })

  function createRow() {
    const badge = createBadge()
    const text = element('span', { class: 'audit-text' })
    const by = element('span', { class: 'hint' })
    let id = null
    return {
      node: element('li', { class: 'row' }, element('div', { class: 'audit-line' }, text, by), badge.node),
      showState: () => badge.show(log.state(id)),
      update(entry) {
        id = entry.id
        text.textContent = String(entry.detail ?? entry.action ?? '')
        by.textContent = `${formatTime(entry.ts)}, ${entry.user ?? 'unknown'}`
        badge.show(log.state(id))
      },
    }
  }

  async function add(event) {
    event.preventDefault()
    const write = log.insert({ ts: new Date().toISOString(), user: 'Demo', action: 'note', module: 'farm', detail: detail.value, before: null, after: null })
    if (await notices.watch(write)) detail.value = ''
  }

  function show() {
    rows.show(latest.getSnapshot())
    count.textContent = `The latest ${Math.min(LIMIT, log.count())} of ${log.count().toLocaleString()} entries.`
    count.dataset.count = String(log.count())
  }

  latest.subscribe(show)
  log.subscribe(show)
  db.status.subscribe(() => rows.each((entry) => entry.showState()))
  show()
  return element('div', {},
    heading,
    element('form', { class: 'filters', onsubmit: add },
      element('label', { class: 'field grow' }, element('span', { class: 'field-name' }, 'Note for the log'), detail),
      element('button', { type: 'submit', dataset: { testid: 'audit-add' } }, 'Add note')),
    count, list)
}
