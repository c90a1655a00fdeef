// A tree put together from parts that want one place: the same, whatever the order of its shape.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { join, without } = modules.mapping

/** All orders of a list. */
function orders(list) {
  return list.length < 2 ? [list] : list.flatMap((one, at) => orders([...list.slice(0, at), ...list.slice(at + 1)]).map((others) => [one, ...others]))
}

function joined({ shape = {}, rows = {}, ones = {}, rest = {} }) {
  return orders(Object.entries(shape)).map((entries) => join(structuredClone({ shape: Object.fromEntries(entries), rows: new Map(Object.entries(rows)), ones: new Map(Object.entries(ones)), rest })))
}

test('where parts want one place, the tree is the same in every order of the shape', () => {
  const cases = [
    [{ shape: { '/farm': 'one', '/farm/houses': 'rows' }, ones: { farm: { name: 'Sol', houses: [1] } } }, { farm: { name: 'Sol', houses: [1] } }],
    [{ shape: { '/farm': 'one', '/farm/houses': 'rows' }, ones: { farm: { name: 'Sol' } } }, { farm: { name: 'Sol' } }],
    [{ shape: { '/farm': 'one', '/farm/houses': 'rows' }, ones: { farm: { name: 'Sol' } }, rows: { 'farm.houses': [{ id: 'h' }] } }, { farm: { name: 'Sol', houses: [{ id: 'h' }] } }],
    [{ shape: { '/x': 'one', '/x/y': 'rows', '/x/y/z': 'one' }, ones: { x: { k: 1 }, 'x.y.z': { n: 1 } }, rows: { 'x.y': [{ id: 'r' }] } }, { x: { k: 1, y: [{ id: 'r' }] } }],
    [{ shape: { '/x': 'value', '/y': 'rows', '/z': 'one' }, rows: { x: [{ id: 'r' }], z: [{ id: 's' }] }, ones: { y: { n: 1 } }, rest: { x: 5 } }, { x: [{ id: 'r' }], y: { n: 1 }, z: [{ id: 's' }] }],
    [{ shape: { '/x': 'rows', '/x/y': 'rows' }, rows: { x: [], 'x.y': [{ id: 'r' }] } }, { x: { y: [{ id: 'r' }] } }],
    [{ shape: { '/x': 'one' }, ones: { x: { a: [1] } }, rest: { x: { a: [2], b: [3] } } }, { x: { a: [1], b: [3] } }],
    [{ shape: { '/a.b': 'value', '/a/b': 'rows' }, rows: { 'a.b': [{ id: 'r' }] }, rest: { 'a.b': [{ n: 1 }] } }, { 'a.b': [{ n: 1 }], a: { b: [{ id: 'r' }] } }],
  ]
  for (const [parts, expected] of cases) for (const tree of joined(parts)) assert.deepEqual(tree, expected)
})

test('what is at a place is taken out of a copy, with what is in its way', () => {
  const root = Object.freeze({ $id: 'own', feed: Object.freeze({ tags: ['x'], kept: 1 }), note: 'n', none: null })
  assert.deepEqual(without(root, ['feed', 'tags']), { $id: 'own', feed: { kept: 1 }, note: 'n', none: null })
  assert.deepEqual(without(root, ['note', 'deeper']), { $id: 'own', feed: { tags: ['x'], kept: 1 }, none: null })
  assert.deepEqual(without(root, ['id']), { feed: { tags: ['x'], kept: 1 }, note: 'n', none: null })
  for (const path of [['other'], ['feed', 'other'], ['feed', 'other', 'deeper']]) assert.equal(without(root, path), root)
})
