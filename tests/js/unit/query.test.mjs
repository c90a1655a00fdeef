// Conditions, orders, limits, and when a result counts as another one.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { select, compareValues, difference, keepIdentity } = modules.query

const ROWS = Object.freeze([
  { id: 'a', n: 3, kind: 'x', tags: ['p'] },
  { id: 'b', n: 1, kind: 'y' },
  { id: 'c', n: 2, kind: 'x', tags: [] },
  { id: 'd', n: null, kind: 'xy' },
  { id: 'e', n: 2, kind: 'x' },
])
const ids = (query) => select(ROWS, query).map(({ id }) => id).join('')

test('conditions', () => {
  assert.equal(ids({ where: { kind: 'x' } }), 'ace')
  assert.equal(ids({ where: { kind: 'x', n: 2 } }), 'ce')
  assert.equal(ids({ where: { n: null } }), 'd')
  assert.equal(ids({ where: { tags: undefined } }), 'bde')
  assert.equal(ids({ where: { tags: ['p'] } }), 'a')
  assert.equal(ids({ where: { n: { gt: 1, lte: 3 } } }), 'ace')
  assert.equal(ids({ where: { n: { gte: 1, lt: 2 } } }), 'b')
  assert.equal(ids({ where: { n: { lt: 'a' } } }), '', 'only values of one type compare')
  assert.equal(ids({ where: { kind: { startsWith: 'x' } } }), 'acde')
  assert.equal(ids({ where: { n: { in: [1, null] } } }), 'bd')
  assert.equal(ids({ where: { n: { in: [] } } }), '')
  assert.equal(ids({ where: (row) => row.n > 1 }), 'ace')
})

test('orders are stable, also downwards', () => {
  assert.equal(ids({ orderBy: 'n' }), 'dbcea')
  assert.equal(ids({ orderBy: '-n' }), 'acebd')
  assert.equal(ids({ orderBy: (a, b) => (a.id < b.id ? 1 : -1) }), 'edcba')
})

test('limits', () => {
  assert.equal(ids({ limit: 2 }), 'ab')
  assert.equal(ids({ offset: 3 }), 'de')
  assert.equal(ids({ offset: 1, limit: 2, orderBy: '-n' }), 'ce')
  assert.equal(ids({ limit: 0 }), '')
  assert.equal(ids({ limit: -1 }), '')
  assert.equal(ids({ limit: NaN, offset: -5 }), 'abcde')
})

test('without a condition the rows themselves are the result; any result is frozen', () => {
  assert.equal(select(ROWS, undefined), ROWS)
  assert.equal(select(ROWS, { limit: 9 }), ROWS)
  assert.ok(Object.isFrozen(select(ROWS, { limit: 1 })))
})

test('values of all types have one order', () => {
  const ordered = [null, false, true, -1, 2, '', 'Z', 'a']
  for (const [i, a] of ordered.entries()) for (const [j, b] of ordered.entries()) assert.equal(Math.sign(compareValues(a, b)), Math.sign(i - j), `${a} ${b}`)
  assert.equal(compareValues(undefined, null), 0)
  assert.equal(compareValues({}, []), 0)
})

test('a result with the same rows is the same result', () => {
  const before = [ROWS[0], ROWS[1]]
  assert.equal(keepIdentity(before, [ROWS[0], ROWS[1]]), before)
  assert.notEqual(keepIdentity(before, [ROWS[1], ROWS[0]]), before)
  assert.notEqual(keepIdentity(before, [ROWS[0]]), before)
})

test('the difference of two results', () => {
  const edited = { ...ROWS[1], n: 9 }
  assert.deepEqual(difference('remote', [ROWS[0], ROWS[1]], [edited, ROWS[2]]), { source: 'remote', added: [ROWS[2]], updated: [edited], removed: ['a'] })
})
