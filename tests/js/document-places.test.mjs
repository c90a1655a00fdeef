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

test('an unsaved row that meets another one is saved beside it, whether the tree was refreshed before or not', async () => {
  for (const refreshes of [false, true]) {
    const { world, a, b } = await meet()
    const tree = await b.exportDocument()
    await a.collection('days').insert({ id: '2025-11-02', eggs: 10 })
    await world.settle()
    tree.days = [{ id: '2025-11-02', eggs: 7 }]
    if (refreshes) assert.deepEqual(b.refreshDocument(tree), [])
    await b.saveDocument(tree)
    await world.settle()
    assert.deepEqual(a.collection('days').list().map(({ eggs }) => eggs), [10])
    assert.deepEqual(b.conflicts.list().map(({ recordId, mine }) => [recordId, mine.eggs]), [['2025-11-02', 7]])
    // The archive has it now, so the tree may show what won.
    assert.deepEqual(b.refreshDocument(tree).filter((pointer) => pointer.startsWith('/days')), ['/days/0'])
    assert.deepEqual(tree.days, [{ id: '2025-11-02', eggs: 10 }])
    assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
    await world.close()
  }
})

test('what was edited after it met another row is no edit of that one', async () => {
  const { world, a, b } = await meet()
  const tree = await b.exportDocument()
  await a.collection('days').insert({ id: 'd', eggs: 10 })
  await world.settle()
  tree.days = [{ id: 'd', eggs: 7 }]
  await b.saveDocument(tree)
  tree.days[0].eggs = 8
  b.refreshDocument(tree)
  await b.saveDocument(tree)
  await world.settle()
  assert.deepEqual(a.collection('days').list().map(({ eggs }) => eggs), [10])
  assert.deepEqual(b.conflicts.list().map(({ mine }) => mine.eggs).sort(), [7, 8])
  await world.close()
})

test('a second row under an id that the tree shows is brought in, not deleted', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => { tree.flocks = [{ id: 'x', n: 1 }] })
  await world.settle()
  const tree = await b.exportDocument()
  await edit(a, (now) => { now.flocks.push({ id: 'x', n: 2 }) })
  await world.settle()
  assert.deepEqual(b.refreshDocument(tree), ['/flocks/1'])
  assert.deepEqual(tree.flocks, [{ id: 'x', n: 1 }, { id: 'x', n: 2 }])
  assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
  await world.close()
})

test('a refresh joins an unsaved singleton with one that arrived, unless both say something else of a field', async () => {
  const { world, a, b } = await meet()
  const tree = await b.exportDocument()
  await a.singleton('settings').set({ dark: true })
  await a.singleton('farm').set({ name: 'Sol', tax: 1 })
  await world.settle()
  Object.assign(tree, { settings: { tax: 2 }, farm: { name: 'Luna' } })
  assert.deepEqual(b.refreshDocument(tree), ['/settings/dark'])
  assert.deepEqual(tree, { settings: { tax: 2, dark: true }, farm: { name: 'Luna' } })
  await b.saveDocument(tree)
  await world.settle()
  assert.deepEqual(b.conflicts.list().map(({ collection, mine }) => [collection, mine.name]), [['farm', 'Luna']])
  b.refreshDocument(tree)
  const { _conflictArchive: _, ...now } = tree
  assert.deepEqual(now, { settings: { tax: 2, dark: true }, farm: { name: 'Sol', tax: 1 } })
  assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
  await world.close()
})

test('a singleton takes the place of a container that a tree has shown or saved', async () => {
  const { world, a, b } = await meet()
  const tree = await b.exportDocument()
  world.network.offline('b')
  tree.farm = { houses: [], pens: [{ id: 'p' }] }
  await b.saveDocument(tree)
  await a.importDocument({ farm: { name: 'Sol', houses: [{ n: 1 }], pens: [] } })
  world.network.online('b')
  await world.settle()
  b.refreshDocument(tree)
  assert.deepEqual(tree.farm, { name: 'Sol', houses: [{ n: 1 }], pens: [] })
  assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
  assert.deepEqual(b.collection('farm.pens').list().map(({ id }) => id), ['p'])
  await world.close()
})
