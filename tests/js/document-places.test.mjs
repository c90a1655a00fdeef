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

test('a singleton and a container of one name: the singleton keeps what is its own, and an untouched tree writes nothing', async () => {
  for (const first of ['a', 'b']) {
    for (const mine of [[], [{ id: 'h9' }]]) {
      const { world, a, b } = await meet()
      const farm = { name: 'Sol', houses: [{ n: 1 }, { n: 2 }] }
      for (const name of ['a', 'b']) world.network.offline(name)
      await a.importDocument({ farm })
      await edit(b, (tree) => { tree.farm = { houses: mine } })
      for (const name of first === 'a' ? ['a', 'b'] : ['b', 'a']) {
        world.network.online(name)
        await world.settle()
      }
      assert.deepEqual((await a.exportDocument()).farm, farm)
      const tree = await b.exportDocument()
      assert.deepEqual(tree.farm, farm)
      assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
      const queued = b.queue.list().length // the first save may note that there is a singleton
      assert.deepEqual(counts(await b.saveDocument(await b.exportDocument())), [0, 0, 0])
      assert.equal(b.queue.list().length, queued)
      tree.farm.name = 'Luna'
      assert.deepEqual(counts(await b.saveDocument(tree)), [0, 1, 0])
      await world.settle()
      const { name, houses } = a.singleton('farm').get()
      assert.deepEqual({ name, houses }, { ...farm, name: 'Luna' })
      assert.deepEqual(a.collection('farm.houses').list().map(({ id }) => id), mine.map(({ id }) => id))
      await a.collection('farm.houses').insert({ id: 'later' })
      await world.settle()
      assert.deepEqual([b.refreshDocument(tree), tree.farm.houses], [[], farm.houses])
      await world.close()
    }
  }
})

test('rows come before anything else that a device has put in their place', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => Object.assign(tree, { flocks: null, note: 'x', feed: 'none' }))
  await world.settle()
  await b.collection('flocks').insert({ id: 'b1' })
  await b.collection('feed.store').insert({ id: 's1' })
  await world.settle()
  assert.deepEqual(await a.exportDocument(), { flocks: [{ id: 'b1' }], note: 'x', feed: { store: [{ id: 's1' }] } })
  await world.close()
})

test('a value that a tree does not show is not taken away by saving it', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => { tree.pens = ['north'] })
  await b.collection('pens').insert({ id: 'p' })
  await world.settle()
  await edit(b, (tree) => { tree.note = 'x' })
  await b.collection('pens').delete('p')
  await edit(b, (tree) => { tree.note = 'y' })
  await world.settle()
  assert.deepEqual(a.singleton('$root').get().pens, ['north'])
  await world.close()
})

test('a collection that a tree has taken out stays out when it is refreshed', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => Object.assign(tree, { flocks: [{ id: 'f' }], note: 'x' }))
  await world.settle()
  const tree = await b.exportDocument()
  delete tree.flocks
  await edit(a, (now) => { now.note = 'y' })
  await world.settle()
  assert.deepEqual([b.refreshDocument(tree), tree], [['/note'], { note: 'y' }])
  assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
  await world.close()
})

test('an empty list hides nothing of a container of its name', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => { tree.feed = { store: [{ id: 's' }], tags: ['red'] } })
  await world.settle()
  world.network.offline('b')
  await edit(a, (tree) => { tree.note = 'x' })
  await b.singleton('$root').update(({ $shape }) => ({ $shape: { ...$shape, '/feed': 'rows' } }))
  world.network.online('b')
  await world.settle()
  assert.deepEqual(await a.exportDocument(), { note: 'x', feed: { store: [{ id: 's' }], tags: ['red'] } })
  await world.close()
})

test('rows under a name that was something else come back, also by only and by import', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => Object.assign(tree, { flocks: null, feed: { tags: ['x'], kept: ['y'] } }))
  await edit(a, (tree) => Object.assign(tree, { flocks: [{ id: 'f' }], feed: { tags: [{ id: 't' }] } }), { only: ['flocks', 'feed.tags'] })
  const { feed, flocks } = await a.exportDocument()
  assert.deepEqual({ feed, flocks }, { flocks: [{ id: 'f' }], feed: { tags: [{ id: 't' }], kept: ['y'] } })
  await edit(a, (tree) => Object.assign(tree, { flocks: [], feed: { tags: [] } }), { only: ['flocks', 'feed.tags'] })
  assert.deepEqual(await a.exportDocument(), { flocks: [], feed: { tags: [], kept: ['y'] } })
  await b.importDocument({ inv: null })
  await b.importDocument({ inv: [{ id: 'i' }] })
  assert.deepEqual((await b.exportDocument()).inv, [{ id: 'i' }])
  await world.close()
})

test('an object in the place of rows is a row among them; in that of a declared singleton there is nothing else', async () => {
  const { world, a, b } = await meet({ collections: { settings: { singleton: true } } })
  await edit(a, (tree) => { tree.inv = [{ id: 'a' }] })
  await edit(a, (tree) => { tree.inv = { eggs: 5 } })
  await a.collection('settings').insert({ id: 'stray' })
  await edit(a, (tree) => { tree.settings = { dark: true } })
  await world.settle()
  const tree = await b.exportDocument()
  assert.deepEqual(tree, { inv: [{ id: 'a' }, { eggs: 5 }], settings: { dark: true } })
  assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
  assert.deepEqual(await b.exportDocument(), tree)
  await world.close()
})

test('a list that is emptied, filled with something else and emptied again is refreshed each time', async () => {
  const { world, a, b } = await meet()
  await edit(a, (tree) => Object.assign(tree, { tags: [], box: { tags: [], rows: [{ id: 'r' }] } }))
  await world.settle()
  const tree = await b.exportDocument()
  for (const tags of [['red'], [], [{ id: 't' }]]) {
    await edit(a, (now) => { now.tags = now.box.tags = tags })
    await world.settle()
    b.refreshDocument(tree)
    assert.deepEqual(tree, { tags, box: { tags, rows: [{ id: 'r' }] } })
    assert.deepEqual(counts(await b.saveDocument(tree)), [0, 0, 0])
    await world.settle()
    assert.deepEqual(await a.exportDocument(), tree)
  }
  await world.close()
})

test('a refresh does not count as seen what the tree has no place for', async () => {
  const { world, a, b } = await meet()
  const tree = await b.exportDocument()
  Object.assign(tree, { pens: [], tags: [{ id: 'mine' }] })
  await edit(a, (now) => { now.tags = ['red'] })
  await a.collection('pens.doors').insert({ id: 'd1' })
  await world.settle()
  b.refreshDocument(tree)
  tree.pens = { doors: [] }
  assert.deepEqual(counts(await b.saveDocument(tree)), [1, 0, 0])
  await world.settle()
  assert.deepEqual(a.collection('pens.doors').list().map(({ id }) => id), ['d1'])
  assert.deepEqual(a.singleton('$root').get().tags, ['red'])
  await world.close()
})

test('what takes the place of something comes back as it was', async () => {
  const { world, a } = await meet()
  for (const x of [[], { y: [] }, { y: { z: [] } }, { y: [1] }, null, { y: [{ id: 'r' }] }, { y: [] }, []]) {
    await edit(a, (tree) => { tree.x = x })
    assert.deepEqual(await a.exportDocument(), { x }, JSON.stringify(x))
  }
  await world.close()
})

/** Numbers for what a history does, apart from the world's own. */
function dice(seed) {
  let state = seed * 2654435761
  return (n) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 374761393) >>> 0
    return (state >>> 8) % n
  }
}

test('whatever is put where: no row goes that no tree of that device showed, and an untouched tree writes nothing', async () => {
  const names = ['x', 'x.y', 'x.y.z', 'w', 'w.y']
  for (let seed = 1; seed <= 120; seed++) {
    const world = await createWorld({ devices: 2, seed })
    const pick = dice(seed)
    let made = 0
    const row = () => `row${++made}`
    const found = (value) => new Set(JSON.stringify(value).match(/row\d+/g) ?? [])
    const stored = (db) => found(names.map((name) => db.collection(name).list().map(({ id, n }) => [id, n])))
    const values = [
      () => null, () => ['v'], () => [], () => [{ id: row() }], () => [{ id: row() }, { n: row() }], () => ({ m: 1 }), () => ({ y: [] }),
      () => ({ y: [{ id: row() }] }), () => ({ y: 'v', m: 1 }), () => ({ y: { z: [{ id: row() }] } }), () => ({ y: ['v'] }),
    ]
    const trees = {}
    const shown = { a: new Set(), b: new Set() }
    for (let step = 0; step < 14; step++) {
      const who = pick(2) === 0 ? 'a' : 'b'
      const db = world.device(who)
      const name = names[pick(names.length)]
      const note = `seed ${seed}, step ${step}`
      const show = () => found(trees[who]).forEach((id) => shown[who].add(id))
      const act = pick(6)
      if (act === 0) await db.collection(name).insert({ id: row() })
      else if (act === 1) await db.singleton(name).set({ [`k${pick(3)}`]: step, ...(pick(2) === 0 ? { y: step } : {}) })
      else {
        if (trees[who] === undefined || pick(2) === 0) {
          const tree = trees[who] = await db.exportDocument()
          show()
          assert.deepEqual(counts(await db.saveDocument(tree)), [0, 0, 0], note)
          assert.deepEqual(await db.exportDocument(), tree, note)
        } else db.refreshDocument(trees[who])
        show()
        const tree = trees[who]
        const value = values[pick(values.length)]
        const member = pick(2) === 0 ? 'x' : 'w'
        if (pick(4) === 0) delete tree[member]
        else tree[member] = value()
        show()
        const before = stored(db)
        await db.saveDocument(tree, pick(5) === 0 ? { only: ['x'] } : {})
        const after = stored(db)
        assert.deepEqual([...before].filter((id) => !after.has(id) && !shown[who].has(id)), [], note)
      }
      await world.settle()
      for (const one of ['a', 'b']) await world.run(world.device(one).sync())
    }
    await world.close()
  }
})
