// Two versions of one record side by side, with the fields that differ marked (by a word, not by colour alone).

import { element } from './dom.js'

/** Fields of a record that Homing keeps for itself; a farm manager need not see them. */
const RESERVED = new Set(['id', '_updatedAt', '_deletedAt', '_rev', '_fieldTimes', '_crdt', '_sourceId'])

/**
 * The fields in which two versions differ, and those in which they agree.
 *
 * @returns {{ changed: string[], same: string[] }}
 */
export function compareVersions(mine, theirs) {
  const names = [...new Set([...Object.keys(mine ?? {}), ...Object.keys(theirs ?? {})])].filter((name) => !RESERVED.has(name))
  const differs = (name) => !isSame(mine?.[name], theirs?.[name])
  return { changed: names.filter(differs), same: names.filter((name) => !differs(name)) }
}

/**
 * A table of both versions; the fields that differ come first and are marked. Where one version is a deletion, the marked
 * fields are those that the other changed since `base`.
 *
 * @param {{ mine: object | null, theirs: object | null, base?: object | null, mineTitle: string, theirsTitle: string }} versions null or a tombstone: deleted
 * @returns {HTMLElement}
 */
export function createDiff({ mine, theirs, base = null, mineTitle, theirsTitle }) {
  const gone = { mine: isDeleted(mine), theirs: isDeleted(theirs) }
  const oneSided = gone.mine !== gone.theirs
  const alive = gone.mine ? theirs : mine
  // Without a base nobody knows what was changed in the living version, so nothing is marked.
  const { changed, same } = oneSided ? compareVersions(base ?? alive, alive) : compareVersions(mine, theirs)
  const cell = (version, isGone, field) => element('td', {}, isGone ? 'deleted' : show(version?.[field]))
  const line = (field, mark) => element('tr', { class: mark ? 'changed' : null, dataset: { field } },
    element('th', { scope: 'row' }, field, mark ? element('span', { class: 'mark' }, 'changed') : null),
    cell(mine, gone.mine, field), cell(theirs, gone.theirs, field))
  return element('div', { class: 'diff-scroll', tabindex: '0', role: 'region', 'aria-label': 'Both versions' },
    element('table', { class: 'diff', dataset: { testid: 'diff' } },
      element('thead', {}, element('tr', {}, element('th', { scope: 'col' }, 'Field'), element('th', { scope: 'col' }, mineTitle), element('th', { scope: 'col' }, theirsTitle))),
      element('tbody', {}, changed.map((field) => line(field, true)), same.map((field) => line(field, false)))))
}

/** Whether a version is gone: absent, or a tombstone. */
export function isDeleted(version) {
  return version === null || version === undefined || Boolean(version._deletedAt)
}

function show(value) {
  if (value === undefined) return 'not there'
  if (value === '') return '(empty)'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

// Equal as JSON values; the order of an object's keys says nothing.
function isSame(a, b) {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
}
