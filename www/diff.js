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
 * A table of two versions; the fields that differ come first and are marked. Where one version is a deletion, the marked
 * fields are those that the other changed since `base`, or since what was deleted.
 *
 * @param {{ left: { title: string, version: object | null }, right: { title: string, version: object | null }, base?: object | null }} versions
 *   null or a tombstone: deleted
 * @returns {HTMLElement}
 */
export function createDiff({ left, right, base = null }) {
  const sides = [left, right].map(({ title, version }) => ({ title, version, isGone: isDeleted(version) }))
  const [alive, gone] = sides[0].isGone ? [right.version, left.version] : [left.version, right.version]
  const oneIsGone = sides[0].isGone !== sides[1].isGone
  // Without a base nobody knows what was changed in the living version, so nothing is marked.
  const { changed, same } = oneIsGone ? compareVersions(base ?? withFields(gone) ?? alive, alive) : compareVersions(left.version, right.version)
  const cell = ({ version, isGone }, field) => element('td', {}, isGone ? 'deleted' : show(version?.[field]))
  const line = (field, mark) => element('tr', { class: mark ? 'changed' : null, dataset: { field } },
    element('th', { scope: 'row' }, field, mark ? [' ', element('span', { class: 'mark' }, 'changed')] : null),
    sides.map((side) => cell(side, field)))
  return element('div', { class: 'diff-scroll', tabindex: '0', role: 'region', 'aria-label': 'Both versions' },
    element('table', { class: 'diff', dataset: { testid: 'diff' } },
      element('thead', {}, element('tr', {}, element('th', { scope: 'col' }, 'Field'), sides.map(({ title }) => element('th', { scope: 'col' }, title)))),
      element('tbody', {}, changed.map((field) => line(field, true)), same.map((field) => line(field, false)))))
}

// A tombstone that still says what was deleted, or null.
function withFields(tombstone) {
  return tombstone !== null && Object.keys(tombstone).some((name) => !RESERVED.has(name)) ? tombstone : null
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
