// The rows of a collection as objects, with an engine that is a list of texts. With a real one: tests/js/collections.test.mjs and
// tests/js/shown.test.mjs.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { rows: { Rows } } = modules

const change = (kinds) => ({ collection: 'c', source: 'local', added: [], updated: [], removed: [], ...kinds })

test('a row that was gone is there again when all is read anew, whoever is asked first', () => {
  const stored = new Map([['x', { id: 'x', n: 1 }], ['y', { id: 'y', n: 1 }]])
  const text = (row) => JSON.stringify({ ...row, _updatedAt: '2026-01-01T00:00:00.000Z', _deletedAt: null })
  const engine = { rows: () => [`[${[...stored.values()].map(text).join()}]`], row: (_, id) => (stored.has(id) ? text(stored.get(id)) : undefined) }
  const rows = new Rows('c', { engine, refresh() {} })
  assert.equal(rows.all().length, 2)
  stored.delete('x')
  rows.apply(change({ removed: ['x'] }))
  assert.equal(rows.get('x'), undefined)
  stored.set('x', { id: 'x', n: 2 })
  rows.apply(change({ all: true }))
  assert.equal(rows.get('x').n, 2)
  assert.deepEqual(rows.all().map(({ id }) => id), ['y', 'x'])
})
