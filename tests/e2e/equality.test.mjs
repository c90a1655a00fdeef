// The comparison that the story rests on sees every kind of difference.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertSameDocument, firstDifference, stripReserved } from './equality.mjs'

test('reserved members are no difference, the order of members neither', () => {
  const stored = { flocks: [{ _updatedAt: '2026-01-01T00:00:00.000Z', _rev: 3, name: 'A', id: '1', houses: [{ _deletedAt: null, n: 1 }] }], _conflictArchive: [] }
  assertSameDocument(stored, { flocks: [{ id: '1', houses: [{ n: 1 }], name: 'A' }] }, 'document')
  assert.deepEqual(stripReserved(stored), { flocks: [{ name: 'A', id: '1', houses: [{ n: 1 }] }] })
})

for (const [what, actual, expected, path] of [
  ['another value', { a: [{ b: 1 }] }, { a: [{ b: 2 }] }, '/a/0/b'],
  ['null instead of nothing', { a: null }, {}, '/a'],
  ['nothing instead of null', {}, { a: null }, '/a'],
  ['an empty array that is gone', { a: {} }, { a: { b: [] } }, '/a/b'],
  ['an object instead of an array', { a: {} }, { a: [] }, '/a'],
  ['another order of rows', [1, 2], [2, 1], '/0'],
  ['a row too many', [1, 2], [1], '/1'],
  ['a number as text', { a: '1' }, { a: 1 }, '/a'],
  ['minus zero', { a: -0 }, { a: 0 }, '/a'],
  ['a member named by a path', { 'a/b~': 1 }, { 'a/b~': 2 }, '/a~1b~0'],
]) {
  test(`${what} is a difference at ${path}`, () => {
    assert.equal(firstDifference(actual, expected)?.path, path)
    assert.throws(() => assertSameDocument(actual, expected, 'it'), (error) => error.message.includes(path))
  })
}
