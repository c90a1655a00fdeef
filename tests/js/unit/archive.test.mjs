// `_conflictArchive` in documents: a copy goes out, a refresh follows the archive, nothing of it ever comes in.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { exporting: { exportTree }, refresh: { refreshTree }, store: { Store }, mapping: { split } } = modules

/** What a tree is made from: flocks, and an archive that a test changes. */
function session(archive) {
  const tables = { flocks: [Object.freeze({ id: 'a', n: 1 })], _conflictArchive: archive }
  const it = {
    archive: Object.freeze(archive),
    declaration: { collections: {} },
    counts: () => Object.fromEntries(Object.entries(tables).map(([name, rows]) => [name, rows.length])),
    rows: (name) => ({ all: () => tables[name] ?? [], get: (id) => (tables[name] ?? []).find((row) => row.id === id) }),
    reports: { conflicts: { list: () => it.archive } },
  }
  return it
}

const entry = (id) => Object.freeze({ id, collection: 'flocks', mine: Object.freeze({ id: 'a', n: 2 }) })

test('a document lists the conflicts, as a copy; without any there is no such member', () => {
  const one = session([entry('arc_1')])
  const { tree } = exportTree(one, false)
  assert.deepEqual([Object.keys(tree).sort(), tree._conflictArchive], [['_conflictArchive', 'flocks'], [entry('arc_1')]])
  tree._conflictArchive[0].mine.n = 3
  tree._conflictArchive.push('whatever')
  assert.deepEqual(exportTree(one, true).tree._conflictArchive, [entry('arc_1')])
  assert.deepEqual(Object.keys(exportTree(session([]), false).tree), ['flocks'])
  assert.deepEqual([...new Store(one).kinds.keys()], ['flocks'], 'it is no collection of the app')
})

test('a refresh follows the archive in place, and takes the member out where nothing is left', () => {
  const one = session([])
  const { tree, baseline } = exportTree(one, false)
  const refresh = () => refreshTree(new Store(one), tree, baseline, false)
  assert.deepEqual(refresh(), [])
  one.archive = [entry('arc_1')]
  assert.deepEqual([refresh(), tree._conflictArchive.map(({ id }) => id), refresh()], [['/_conflictArchive'], ['arc_1'], []])
  const shown = tree._conflictArchive
  one.archive = [entry('arc_1'), entry('arc_2')]
  assert.deepEqual([refresh(), tree._conflictArchive === shown, shown.map(({ id }) => id)], [['/_conflictArchive'], true, ['arc_1', 'arc_2']])
  one.archive = []
  assert.deepEqual([refresh(), '_conflictArchive' in tree], [['/_conflictArchive'], false])
})

test('what a tree says of the archive is never read', () => {
  const known = { contains: () => false, kindOf: () => undefined }
  const parts = split({ _conflictArchive: [{ id: 'arc_x' }], flocks: [{ id: 'a' }] }, known)
  assert.deepEqual([parts.rows.map(({ name }) => name), parts.rest], [['flocks'], {}])
})
