// Conflicts as an app meets them, on the reference server: policies that decide, `onConflict`, the archive. Two databases of one
// page are two devices.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openFarm } from './farm.mjs'

const COLLECTIONS = { asked: { merge: 'manual', title: 'Flock', label: 'name' }, mine: { merge: 'client-wins' }, theirs: { merge: 'server-wins' }, first: { merge: 'fww' }, counted: { fields: { eggs: 'counter', tags: 'set' } }, settings: { singleton: true, fields: { visits: 'counter' } } }
let farm, run

before(async () => {
  farm = await openFarm(COLLECTIONS)
  run = farm.run
})
after(() => farm.close())

test('policies that decide ask nobody, and the write says how it ended', async () => {
  const result = await run(async (token) => {
    const [a, b] = [await device(crypto.randomUUID(), token), await device(crypto.randomUUID(), token)]
    const out = {}
    for (const collection of ['mine', 'theirs', 'first']) {
      const { id, write } = await meeting(a, b, collection)
      const verdict = await write.settled
      await a.sync()
      const entry = b.conflicts.list({ recordId: id })
      out[collection] = [verdict.status, a.collection(collection).get(id).n, b.collection(collection).get(id).n, b.collection(collection).state(id), entry.map(({ status, winner, mine, theirs }) => [status, winner, mine.n, theirs.n])]
    }
    const { pending, conflicts } = b.status.getSnapshot()
    return { ...out, pending, conflicts }
  })
  assert.deepEqual(result, {
    mine: ['applied', 2, 2, 'synced', [['automatic', 'mine', 2, 1]]],
    theirs: ['superseded', 1, 1, 'synced', [['automatic', 'theirs', 2, 1]]],
    first: ['superseded', 1, 1, 'synced', [['automatic', 'theirs', 2, 1]]],
    pending: 0, conflicts: 0,
  })
})

test('onConflict decides, at once or later, and may call anything', async () => {
  const result = await run(async (token) => {
    const seen = []
    const answers = [() => 'mine', () => 'theirs', async () => ({ n: 9 }), async (conflict) => {
      const flocks = b.collection('asked')
      seen.push([Object.isFrozen(conflict), flocks.get(conflict.recordId).n, flocks.state(conflict.recordId), conflict.label, b.conflicts.list({ status: 'unresolved' }).length])
      await flocks.insert({ name: 'from the handler' })
      await b.sync()
      return 'mine'
    }]
    let calls = 0
    const a = await device(crypto.randomUUID(), token)
    const b = await device(crypto.randomUUID(), token, (conflict) => answers[calls++](conflict))
    const out = []
    for (const _ of answers) {
      const { id } = await meeting(a, b, 'asked')
      await until(() => b.conflicts.list({ recordId: id, status: 'unresolved' }).length === 0, b.conflicts)
      await b.sync()
      await a.sync()
      out.push([a.collection('asked').get(id).n, b.collection('asked').get(id).n, a.conflicts.list({ recordId: id })[0].status])
    }
    return { out, calls, seen }
  })
  assert.deepEqual(result, { out: [[2, 2, 'resolved'], [1, 1, 'resolved'], [9, 9, 'resolved'], [2, 2, 'resolved']], calls: 4, seen: [[true, 2, 'conflict', "Flock 'Layers'", 1]] })
})

test('two creates under one id: both are kept, mine under a new id, decided by a person or by onConflict', async () => {
  const result = await run(async (token) => {
    const out = []
    for (const handler of [undefined, () => 'both']) {
      const a = await device(crypto.randomUUID(), token)
      const b = await device(crypto.randomUUID(), token, handler)
      const id = crypto.randomUUID()
      for (const [db, by] of [[a, 'a'], [b, 'b']]) {
        await db.collection('asked').insert({ id, by })
        await db.sync()
      }
      const met = b.conflicts.list({ recordId: id })[0]
      let write
      if (handler === undefined) {
        write = b.conflicts.resolve(met.id, 'both')
        await write
      }
      await until(() => b.conflicts.list({ recordId: id, status: 'unresolved' }).length === 0, b.conflicts)
      await b.sync()
      await a.sync()
      const rows = [a, b].map((db) => db.collection('asked').list().filter(({ by }) => by !== undefined).map((row) => [row.id === id, row.by]))
      out.push([met.kind, rows[0], rows[1], write && [write.recordId !== id, write.record.by, (await write.settled).status], a.conflicts.list({ recordId: id })[0].status])
      for (const { id } of a.collection('asked').list()) await a.collection('asked').delete(id)
      await a.sync()
    }
    return out
  })
  const rows = [[true, 'a'], [false, 'b']]
  assert.deepEqual(result, [['create-create', rows, rows, [true, 'b', 'applied'], 'resolved'], ['create-create', rows, rows, undefined, 'resolved']])
})

test('an answer that is none leaves the conflict waiting, is reported, and asked for again after the next opening', async () => {
  const result = await run(async (token) => {
    const answers = [() => { throw new Error('no idea') }, () => Promise.reject(new Error('later')), () => 'maybe', async () => null, () => undefined, () => [1], () => ({ n: 10n })]
    const a = await device(crypto.randomUUID(), token)
    const name = crypto.randomUUID()
    let calls = 0
    const told = []
    const logged = []
    const heard = { handler: () => {} }
    let b = await device(name, token, (conflict) => answers[calls++](conflict), { logger: (entry) => entry.phase === 'apply' && logged.push([entry.level, entry.data.code]) })
    b.addEventListener('error', ({ detail }) => { told.push([detail instanceof HomingError, detail.code, detail.cause !== undefined]); heard.handler() })
    for (const _ of answers) {
      const next = new Promise((resolve) => { heard.handler = resolve })
      await meeting(a, b, 'asked')
      await next
    }
    const waiting = [b.status.getSnapshot().conflicts, b.conflicts.list({ status: 'unresolved' }).length, b.queue.list().length]
    await b.sync()
    await b.close()
    const again = []
    b = await device(name, token, (conflict) => (again.push(conflict.recordId), 'mine'))
    await until(() => b.conflicts.list({ status: 'unresolved' }).length === 0, b.conflicts)
    await b.sync()
    return { calls, told, logged, waiting, again: new Set(again).size, times: again.length, left: b.status.getSnapshot().conflicts, n: b.collection('asked').list().map(({ n }) => n) }
  })
  assert.deepEqual(result.told, [['aborted'], ['aborted'], ['invalid-record'], ['invalid-record'], ['invalid-record'], ['invalid-record'], ['invalid-record']].map(([code]) => [true, code, true]))
  assert.deepEqual(result.logged, result.told.map(([, code]) => ['warn', code]))
  assert.deepEqual([result.calls, result.waiting, result.again, result.times, result.left, result.n], [7, [7, 7, 0], 7, 7, 0, [2, 2, 2, 2, 2, 2, 2]])
})

test('one of two tabs asks', async () => {
  const name = crypto.randomUUID()
  const { page } = farm
  const token = await farm.token()
  const other = await farm.prepared()
  const openTab = (tab) => tab.evaluate(async ([name, token]) => {
    window.calls = 0
    window.tab = await device(name, token, async () => { window.calls++; await new Promise((resolve) => setTimeout(resolve)); return 'mine' })
  }, [name, token])
  await openTab(page)
  await openTab(other)
  const ids = await page.evaluate(async (token) => {
    const a = await device(crypto.randomUUID(), token)
    const ids = []
    for (let n = 0; n < 5; n++) ids.push((await meeting(a, tab, 'asked')).id)
    return ids
  }, token)
  for (const one of [page, other]) {
    await one.evaluate(async (ids) => {
      await until(() => ids.every((id) => tab.conflicts.list({ recordId: id }).some(({ status }) => status === 'resolved')), tab.conflicts)
    }, ids)
  }
  const calls = await Promise.all([page, other].map((one) => one.evaluate(() => window.calls)))
  assert.equal(calls[0] + calls[1], 5, `asked ${calls}`)
  await other.close()
})

test('the archive: filtered, followed, taken back, let go; part of the document and never read from one', async () => {
  const result = await run(async (token) => {
    const [a, b] = [await device(crypto.randomUUID(), token), await device(crypto.randomUUID(), token)]
    let told = 0
    b.conflicts.subscribe(() => told++)
    const one = await meeting(a, b, 'theirs')
    const two = await meeting(a, b, 'asked')
    const lists = [{}, { status: 'unresolved' }, { status: 'automatic' }, { collection: 'asked' }, { recordId: one.id }, { limit: 1 }, { collection: 'none' }].map((filter) => b.conflicts.list(filter).length)
    const entry = b.conflicts.list({ recordId: one.id })[0]
    const open = b.conflicts.list({ recordId: two.id })[0]
    const found = b.conflicts.get(entry.id) === entry && b.conflicts.get('arc_none') === undefined
    const refused = [(await failure(b.conflicts.reinstate(open.id))).code, (await failure(b.conflicts.reinstate('arc_none'))).code, (await failure(b.conflicts.resolve(open.id, null))).code, (await failure(b.conflicts.purge({ before: 'once' }))).homing]
    const tree = await b.exportDocument()
    const exported = tree._conflictArchive.map(({ recordId }) => recordId).sort().join() === [one.id, two.id].sort().join()
    tree._conflictArchive.length = 0
    const saved = await b.saveDocument(tree)
    const imported = await b.importDocument({ _conflictArchive: [{ id: 'arc_x', collection: 'asked' }] })
    const untouched = [b.queue.list().filter(({ collection }) => collection !== '$root').length, b.conflicts.list().length, saved.deleted, Object.keys(imported.collections)]
    // The version that lost comes back, also from behind a deletion.
    await a.collection('theirs').delete(one.id)
    await a.sync()
    await b.sync()
    const write = b.conflicts.reinstate(entry.id)
    await write
    await b.sync()
    await a.sync()
    const back = [(await write.settled).status, a.collection('theirs').get(one.id).n]
    const purged = [await b.conflicts.purge({ before: '2020-01-01' }), await b.conflicts.purge(), b.conflicts.list().map(({ id }) => id === open.id)]
    await b.sync({ full: true })
    return { lists, found, refused, exported, untouched, back, purged, after: b.conflicts.list().length, others: a.conflicts.list().length, status: b.status.getSnapshot().conflicts, told: told > 0, mine: b.collection('asked').get(two.id).n }
  })
  assert.deepEqual(result, {
    lists: [2, 1, 1, 1, 1, 1, 0], found: true, refused: ['blocked', 'not-found', 'invalid-record', true], exported: true, untouched: [0, 2, 0, []],
    back: ['applied', 2], purged: [0, 1, [true]], after: 1, others: 2, status: 1, told: true, mine: 2,
  })
})

test('an old tree, an old form: what they count and add is on top of what others did', async () => {
  const result = await run(async (token) => {
    const [a, b] = [await device(crypto.randomUUID(), token), await device(crypto.randomUUID(), token)]
    const settle = async () => { for (const db of [a, b, a]) await db.sync() }
    await a.collection('counted').insert({ id: 'r', name: 'A', eggs: 7, tags: ['a'] })
    await a.singleton('settings').set({ dark: false, tax: 1, visits: 1 })
    const out = []
    for (let round = 0; round < 2; round++) {
      await settle()
      const form = a.collection('counted').get('r')
      const tree = await a.exportDocument()
      await b.collection('counted').update('r', ({ eggs, tags }) => ({ eggs: eggs + 10, tags: [...tags, `b${round}`] }))
      await b.singleton('settings').update(({ visits }) => ({ visits: visits + 10, tax: 2 + round }))
      for (const db of [b, a]) await db.sync()
      await a.collection('counted').put({ ...form, eggs: form.eggs + 1 })
      tree.counted[0].name = `from a tree ${round}`
      tree.counted[0].eggs += 100
      tree.counted[0].tags.push(`t${round}`)
      tree.settings.visits += 100
      tree.settings.dark = true
      await a.saveDocument(tree)
      await settle()
      out.push([a, b].map((db) => [db.collection('counted').list().map(({ name, eggs, tags }) => [name, eggs, tags.join()])[0], db.singleton('settings').get()].map((it) => Array.isArray(it) ? it : [it.dark, it.tax, it.visits])))
    }
    return out
  })
  const round = (n, tags) => [[`from a tree ${n}`, 7 + 111 * (n + 1), tags], [true, 2 + n, 1 + 110 * (n + 1)]]
  assert.deepEqual(result, [round(0, 'a,b0,t0'), round(1, 'a,b0,b1,t0,t1')].map((both) => [both, both]))
})

test('a refresh brings the archive into the tree, and takes out what was let go', async () => {
  const result = await run(async (token) => {
    const [a, b] = [await device(crypto.randomUUID(), token), await device(crypto.randomUUID(), token)]
    const tree = await b.exportDocument()
    const before = '_conflictArchive' in tree
    const told = (what) => what.filter((path) => path.startsWith('/_'))
    const { id } = await meeting(a, b, 'theirs')
    const came = told(b.refreshDocument(tree))
    const list = tree._conflictArchive
    const first = list.map(({ recordId, mine, theirs }) => [recordId === id, mine.n, theirs.n])
    await meeting(a, b, 'asked')
    const more = [told(b.refreshDocument(tree)), tree._conflictArchive === list, list.length, told(b.refreshDocument(tree))]
    list.length = 0 // whatever an app does to it
    await b.saveDocument(tree)
    await b.conflicts.resolve(b.conflicts.list({ status: 'unresolved' })[0].id, 'mine')
    await b.sync()
    const settled = [told(b.refreshDocument(tree)), list.map(({ status }) => status).sort()]
    await b.conflicts.purge()
    const none = [told(b.refreshDocument(tree)), '_conflictArchive' in tree]
    return { before, came, first, more, settled, none }
  })
  const path = ['/_conflictArchive']
  assert.deepEqual(result, { before: false, came: path, first: [[true, 2, 1]], more: [path, true, 2, []], settled: [path, ['automatic', 'resolved']], none: [path, false] })
})

test('what changed, as a JSON Patch: of a waiting mutation, of a conflict', async () => {
  const result = await run(async (token) => {
    const [a, b] = [await device(crypto.randomUUID(), token), await device(crypto.randomUUID(), token)]
    await meeting(a, b, 'asked')
    await a.sync()
    const [open] = b.conflicts.list()
    const met = [b.conflicts.patch(open.id), a.conflicts.patch(open.id)]
    await b.collection('first').insert({ id: 'x', tags: ['a'], 'a/b~c': 1 })
    await b.collection('first').insert({ id: 'y', n: 1 })
    await b.sync()
    const changes = [
      () => b.collection('first').insert({ id: 'new', n: 1 }),
      () => b.collection('first').update('x', { tags: ['a', 'b'], 'a/b~c': undefined }),
      () => b.collection('first').delete('y'),
    ]
    const told = []
    for (const change of changes) {
      await change()
      const { id, record } = b.queue.list().at(-1)
      const patch = b.queue.patch(id)
      told.push([Object.isFrozen(patch), ...patch.map((step) => step.path === '/_deletedAt' ? { ...step, value: step.value === record._deletedAt } : step)])
    }
    return { met, told, none: [b.queue.patch('nobody:1'), b.queue.patch('?'), b.conflicts.patch('arc_none')] }
  })
  const difference = [{ op: 'replace', path: '/n', value: 2 }]
  assert.deepEqual(result.met, [{ mine: difference, theirs: [{ op: 'replace', path: '/n', value: 1 }], difference }, { mine: null, theirs: null, difference }], 'only who edited it knows what he started from')
  const removed = { op: 'remove', path: '/a~1b~0c' }
  assert.deepEqual(result.told, [
    [true, { op: 'add', path: '/id', value: 'new' }, { op: 'add', path: '/n', value: 1 }],
    [true, { op: 'add', path: '/tags/1', value: 'b' }, removed],
    [true, { op: 'add', path: '/_deletedAt', value: true }],
  ])
  assert.deepEqual(result.none, [undefined, undefined, undefined])
})

test('a handler has to be a function', async () => {
  const refused = await farm.page.evaluate(() => failure(openDatabase({ name: 'x', collections: { a: { onConflict: 'mine' } } })))
  assert.deepEqual([refused.code, refused.path], ['invalid-record', '/collections/a/onConflict'])
})
