// Conflicts: those that wait for a decision, and the archive of what merges overrode. Both show both versions.

import { describeConflict, describeOutcome } from './conflict-words.js'
import { compareVersions, createDiff, isDeleted } from './diff.js'
import { element, formatTime, keyedList } from './dom.js'

/** Most archive rows that are drawn; the database keeps more. */
const LIMIT = 100

/**
 * @param {{ db: any, dialog: { open: (conflict: any, returnTo?: HTMLElement) => void } }} parts
 * @returns {HTMLElement}
 */
export function createArchive({ db, dialog }) {
  const unresolvedList = element('ul', { class: 'rows', dataset: { testid: 'unresolved' } })
  const archiveList = element('ul', { class: 'rows', dataset: { testid: 'archive' } })
  const waiting = element('h3', { tabindex: '-1', dataset: { testid: 'waiting' } }, 'Waiting for your decision')
  const archiveHeading = element('h3', {}, 'Archive of overwritten versions')
  const nothing = element('p', { class: 'hint' }, 'Nothing waits for a decision.')
  const empty = element('p', { class: 'hint' }, 'No version was overwritten yet.')
  const unresolved = keyedList(unresolvedList, { key: ({ id }) => id, create: createQuestion, heading: waiting })
  const archived = keyedList(archiveList, { key: ({ id, status, winner }) => `${id} ${status} ${winner}`, create: createEntry, heading: archiveHeading })

  function createQuestion(conflict) {
    const { sentence } = describeConflict(conflict, db.clientId)
    let shown = conflict
    const node = element('li', { class: 'row question', dataset: { testid: 'unresolved-conflict', id: conflict.id } },
      element('p', {}, sentence),
      element('button', { type: 'button', dataset: { testid: 'decide' }, 'aria-label': `Decide: ${sentence}`, onclick: () => dialog.open(shown, waiting) }, 'Decide…'))
    return { node, update: (next) => { shown = next } }
  }

  function createEntry(conflict) {
    const { left, right } = describeConflict(conflict, db.clientId)
    const oneSided = isDeleted(conflict.mine) !== isDeleted(conflict.theirs)
    const { changed } = compareVersions(conflict.mine, conflict.theirs)
    const what = oneSided ? 'deleted on one device, changed on the other' : changed.length > 0 ? `differs in ${changed.join(', ')}` : 'same content'
    const summary = element('summary', {},
      element('strong', {}, conflict.label), element('span', {}, what),
      element('span', { class: 'hint' }, `${describeOutcome(conflict, db.clientId)} · ${formatTime(conflict.at)}`))
    const details = element('details', {}, summary)
    // The tables of closed entries are not worth building.
    details.addEventListener('toggle', () => {
      if (details.open && details.childElementCount === 1) details.append(createDiff({ left, right, base: conflict.base }))
    })
    return { node: element('li', { class: 'row archive-entry', dataset: { testid: 'archived', id: conflict.id, record: conflict.recordId } }, details), update() {} }
  }

  function show() {
    const all = db.conflicts.list()
    const open = all.filter(({ status }) => status === 'unresolved')
    const closed = all.filter(({ status }) => status !== 'unresolved').sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, LIMIT)
    unresolved.show(open)
    archived.show(closed)
    nothing.hidden = open.length > 0
    empty.hidden = closed.length > 0
  }

  db.conflicts.subscribe(show)
  show()
  return element('div', {},
    element('section', { class: 'card' }, waiting, nothing, unresolvedList),
    element('section', { class: 'card' }, archiveHeading,
      element('p', { class: 'hint' }, 'When two devices change the same record, the later change is kept and the other version is put here.'),
      empty, archiveList))
}

/** The number of unresolved conflicts, to sit beside the title of the Config tab. Hidden at zero. */
export function createConflictCount({ db }) {
  const node = element('span', { class: 'count', dataset: { testid: 'conflict-badge' } })
  function show() {
    const count = db.conflicts.list({ status: 'unresolved' }).length
    node.hidden = count === 0
    node.dataset.count = String(count)
    node.replaceChildren(String(count), element('span', { class: 'visually-hidden' }, count === 1 ? ' conflict to decide' : ' conflicts to decide'))
  }
  db.conflicts.subscribe(show)
  show()
  return node
}
