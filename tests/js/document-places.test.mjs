// Document mode on several devices that disagree about what is where in the tree, and about a record that both made. Nothing that a
// tree has not shown is deleted or replaced by saving it. Not here: what is where without a quarrel (`documents.test.mjs`).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createWorld } from 'homing/testing'

/** Two devices of one farm. */
async function meet(options = {}) {
  const world = await createWorld({ devices: 2, ...options })
  return { world, a: world.device('a'), b: world.device('b') }
}

function counts({ inserted, updated, deleted }) {
  return [inserted, updated, deleted]
}

/** Saves an exported tree with a change; resolves to the counts of the report. */
async function edit(db, change, options) {
  const tree = await db.exportDocument()
  change(tree)
  return counts(await db.saveDocument(tree, options))
}

test('rows that a tree does not show, because something else has their place, outlive a save', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => { tree.pens = [{ id: 'p' }] })
  await b.collection('pens.doors').insert({ id: 'd1' })
  await world.settle()
  const tree = await a.exportDocument()
  assert.deepEqual(tree, { pens: [{ id: 'p' }] })
  tree.pens = { doors: [] }
  assert.deepEqual(counts(await a.saveDocument(tree)), [0, 0, 0])
  await world.settle()
  assert.deepEqual(b.collection('pens.doors').list().map(({ id }) => id), ['d1'])
  await world.close()
})

test('a new row whose id is a text and a stored row whose id is that number are two rows', async () => {
  const { world, a } = await meet()
  await edit(a, (tree) => { tree.flocks = [{ id: 7, birds: 400 }] })
  const tree = await a.exportDocument()
  tree.flocks.push({ id: '7', birds: 1 })
  assert.deepEqual(counts(await a.saveDocument(tree)), [1, 0, 0])
  assert.deepEqual((await a.exportDocument()).flocks, [{ id: 7, birds: 400 }, { id: '7', birds: 1 }])
  assert.deepEqual(counts(await a.saveDocument(tree)), [0, 0, 0])
  await world.close()
})
