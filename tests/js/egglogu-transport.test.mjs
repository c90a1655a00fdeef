// The example transport against a server with EGGlogU's habits: what an app with its own dialect gets from Homing, and that the example
// in the README is worth copying. The habits themselves are `support/egglogu-server.mjs`.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { ROOT } from '../../scripts/support/environment.mjs'
import { startEggloguServer } from '../support/egglogu-server.mjs'
import { openSite } from './page.mjs'

const COLLECTIONS = { flocks: { ids: 'server' }, production: { ids: 'server', references: { flockId: 'flocks' } } }
const MAPPING = {
  flocks: { entity: 'flocks', columns: { name: 'name', breed: 'breed', count: 'count', bornOn: 'birth_date' } },
  production: { entity: 'production', columns: { flockId: 'flock_id', day: 'date', eggs: 'total_eggs' } },
}

let site
let page
let server

before(async () => { site = await openSite({ mounts: { '/examples/': `${ROOT}/examples` } }) })
after(() => site.close())
beforeEach(async () => {
  server = await startEggloguServer()
  page = await site.open()
  await page.exposeFunction('theServer', (method, ...args) => server[method](...args))
})
afterEach(async () => {
  await page.close()
  await server.close()
})

/** Runs `steps(db, arg)` in the page with an open database; `db.drain()` syncs and waits until nothing is left to send, `theServer(method, …)` is the server. */
function withDatabase(steps, arg) {
  const name = `egglogu-${crypto.randomUUID()}`
  return page.evaluate(async ({ source, url, arg, name, collections, mapping }) => {
    const { eggloguTransport } = await import('/examples/egglogu-transport.mjs')
    const tokens = []
    const getToken = async ({ refresh }) => (tokens.push(refresh), refresh ? 'fresh' : 'token')
    const db = await openDatabase({ name, collections, sync: { transport: eggloguTransport({ url, scope: name, collections: mapping }), getToken, debounce: 10_000 } })
    db.tokens = tokens
    db.drain = async () => {
      await db.sync().catch((error) => { if (!error.retryable) throw error })
      await new Promise((done) => {
        const look = () => db.status.getSnapshot().pending === 0 && done()
        db.status.subscribe(look)
        look()
      })
    }
    try {
      return await new Function(`return (${source})`)()(db, arg)
    } finally {
      await db.close()
    }
  }, { source: steps.toString(), url: server.url, arg, name, collections: COLLECTIONS, mapping: MAPPING })
}

const names = (rows) => rows.map(({ name }) => name).sort()
const numbered = (word, n) => Array.from({ length: n }, (_, at) => `${word} ${String(at).padStart(3, '0')}`)

test('the example is shorter than 80 lines of code', () => {
  const lines = readFileSync(`${ROOT}/examples/egglogu-transport.mjs`, 'utf8').split('\n').filter((line) => !/^\s*(\/\/|\/\*\*|$)/.test(line))
  assert.ok(lines.length < 80, `${lines.length}`)
})

test('300 records both ways, an answer lost in the middle: no duplicates, references under the ids of the server', { timeout: 30_000 }, async () => {
  // Pages of 500: what others noted in the last 20 minutes is more than one.
  const start = Date.now() - 1_200_000
  const theirs = numbered('theirs', 300).map((name, at) => server.insert('flocks', { name, count: at }, start + at * 1000))
  for (let n = 0; n < 700; n++) server.insert('production', { flock_id: theirs[n % 300], date: '2026-03-01', total_eggs: n }, start + n * 1000)
  server.lose(1)
  server.meanwhile(() => server.insert('flocks', { name: 'between' }))
  const here = await withDatabase(async (db, names) => {
    const [flocks, production] = [db.collection('flocks'), db.collection('production')]
    const made = flocks.insertMany(names.map((name, at) => ({ name, breed: 'Hy-Line', count: at })))
    await made
    await production.insertMany(made.recordIds.slice(0, 100).map((flockId, at) => ({ flockId, day: '2026-03-02', eggs: 10_000 + at })))
    await db.drain()
    const verdicts = (await made.settled).map(({ status }) => status)
    const children = production.list().filter(({ eggs }) => eggs >= 10_000)
    return {
      flocks: flocks.list().map(({ id, name }) => ({ id, name })), production: production.count(), verdicts: [...new Set(verdicts)],
      parents: children.map(({ flockId, eggs }) => [eggs, flocks.get(flockId)?.name]), ids: children.map(({ flockId }) => flockId),
      alias: flocks.get(made.recordIds[7])?.name, letters: db.deadLetters.list().length, conflicts: db.conflicts.list().length,
    }
  }, numbered('mine', 300))

  assert.equal(server.counts.lost, 1)
  const all = ['between', ...numbered('mine', 300), ...numbered('theirs', 300)]
  assert.deepEqual(names(server.live('flocks')), all)
  assert.deepEqual(names(here.flocks), all)
  assert.equal(server.inserts(), 300 + 700 + 1 + 300 + 100, 'no insert happened twice')
  assert.deepEqual(here.flocks.map(({ id }) => id).sort(), server.live('flocks').map(({ id }) => id).sort())
  // Each day belongs to the flock it was noted for, under the id that the server gave that flock.
  const mine = server.live('production').filter(({ total_eggs: eggs }) => eggs >= 10_000)
  assert.deepEqual(mine.map(({ flock_id: id, total_eggs: eggs }) => [eggs, server.row('flocks', id)?.name]).sort(), numbered('mine', 100).map((name, at) => [10_000 + at, name]))
  assert.deepEqual(here.parents.sort(), numbered('mine', 100).map((name, at) => [10_000 + at, name]))
  assert.ok(here.ids.every((id) => !id.startsWith('optimistic_')))
  assert.deepEqual([here.production, here.verdicts, here.alias, here.letters, here.conflicts], [800, ['applied'], 'mine 007', 0, 0])
})

test('a record made with the one it refers to names it by its new id, and one with text that looks like an id keeps it', { timeout: 30_000 }, async () => {
  await withDatabase(async (db) => {
    const { recordId } = db.collection('flocks').insert({ name: 'a', breed: 'optimistic_b', count: 1 })
    await db.collection('production').insert({ flockId: recordId, day: 'constructor', eggs: 40 })
    await db.drain()
  })
  const [[flock], [day]] = [server.live('flocks'), server.live('production')]
  assert.deepEqual([flock.breed, day.flock_id, day.date], ['optimistic_b', flock.id, 'constructor'])
})

test('more rows than the server can list for one second are written more slowly', { timeout: 30_000 }, async () => {
  const here = await withDatabase(async (db) => {
    await db.collection('production').insertMany(Array.from({ length: 1050 }, (_, eggs) => ({ day: '2026-03-02', eggs })))
    await db.drain()
    return db.collection('production').count()
  })
  assert.deepEqual([here, server.inserts()], [1050, 1050])
})

test('two equal facts stay two, also when the answer to both was lost', { timeout: 30_000 }, async () => {
  server.lose(1)
  const here = await withDatabase(async (db) => {
    await db.collection('production').insertMany([1, 2].map(() => ({ day: '2026-03-02', eggs: 40 })))
    await db.drain()
    return db.collection('production').count()
  })
  assert.deepEqual([here, server.live('production').length, server.counts.lost], [2, 2, 1])
})

test('edits and deletes are carried over both ways', { timeout: 30_000 }, async () => {
  const ids = ['a', 'b', 'c', 'd'].map((name) => server.insert('flocks', { name, count: 1 }, Date.now() - 60_000))
  const seen = await withDatabase(async (db, [a, b, c, d]) => {
    const flocks = db.collection('flocks')
    const look = async () => [...flocks.list().map(({ name, count }) => `${name}${count}`), ...(await theServer('live', 'flocks')).map(({ name, count }) => `${name}${count}`)].join(' ')
    await db.drain()
    await flocks.delete(a)
    await flocks.update(b, { count: 2 })
    await db.drain()
    const sent = await look()
    await theServer('remove', 'flocks', c)
    await theServer('update', 'flocks', d, { count: 3 })
    await db.drain()
    return [sent, await look(), db.conflicts.list().length]
  }, ids)
  assert.deepEqual(seen, ['b2 c1 d1 b2 c1 d1', 'b2 d3 b2 d3', 0])
  assert.equal(server.inserts(), 4)
})

test('an edit on both sides waits for a person, and either choice ends it', { timeout: 30_000 }, async () => {
  const ids = ['a', 'b', 'c'].map((name) => server.insert('flocks', { name, count: 1 }, Date.now() - 60_000))
  const seen = await withDatabase(async (db, ids) => {
    const flocks = db.collection('flocks')
    await db.drain()
    for (const id of ids) await theServer('update', 'flocks', id, { count: 5 })
    for (const id of ids.slice(0, 2)) await flocks.update(id, { count: 7 })
    await flocks.delete(ids[2])
    await db.drain()
    const conflicts = db.conflicts.list({ status: 'unresolved' }).map(({ id, recordId, mine, theirs }) => ({ id, recordId, mine: mine?.count ?? null, theirs: theirs?.count ?? null }))
    const choices = ['mine', 'theirs', 'mine']
    for (const [at, id] of ids.entries()) await db.conflicts.resolve(conflicts.find(({ recordId }) => recordId === id).id, choices[at])
    await db.drain()
    return [conflicts.map(({ mine, theirs }) => [mine, theirs]), flocks.list().map(({ count }) => count), db.conflicts.list({ status: 'unresolved' }).length]
  }, ids)
  assert.deepEqual(seen[0].slice(0, 2), [[7, 5], [7, 5]])
  assert.equal(seen[0][2][1], 5, 'deleted here, edited there')
  assert.deepEqual(seen.slice(1), [[7, 5], 0])
  assert.deepEqual(server.live('flocks').map(({ count }) => count), [7, 5])
})

test('what others write while a push is on its way is not overwritten', { timeout: 30_000 }, async () => {
  const id = server.insert('flocks', { name: 'a', count: 1 }, Date.now() - 60_000)
  server.meanwhile(() => server.update('flocks', id, { count: 5 }))
  const conflicts = await withDatabase(async (db, id) => {
    await db.drain()
    await db.collection('flocks').update(id, { count: 7 })
    await db.drain()
    return db.conflicts.list().map(({ mine, theirs }) => [mine.count, theirs.count])
  }, id)
  assert.deepEqual(conflicts, [[7, 5]])
  assert.equal(server.row('flocks', id).count, 5)
})

test('an edit or a delete whose answer was lost is no conflict, nor is a delete on both sides', { timeout: 30_000 }, async () => {
  const ids = ['a', 'b', 'c'].map((name) => server.insert('flocks', { name, count: 1 }, Date.now() - 60_000))
  const seen = await withDatabase(async (db, [a, b, c]) => {
    const flocks = db.collection('flocks')
    await db.drain()
    await theServer('lose', 1)
    await flocks.update(a, { count: 2 })
    await flocks.delete(b)
    await db.drain()
    await theServer('remove', 'flocks', c)
    await flocks.delete(c)
    await db.drain()
    return [db.conflicts.list().length, flocks.list().map(({ name, count }) => [name, count]), db.deadLetters.list().length]
  }, ids)
  assert.deepEqual(seen, [0, [['a', 2]], 0])
  assert.deepEqual([server.live('flocks').map(({ name, count }) => [name, count]), server.counts.lost], [[['a', 2]], 1])
})

test('a token that expires is asked for again, and nothing is sent twice', { timeout: 30_000 }, async () => {
  const asked = await withDatabase(async (db) => {
    await db.drain()
    await theServer('accept', 'fresh')
    await db.collection('flocks').insert({ name: 'a' })
    await db.sync()
    return [db.tokens, db.status.getSnapshot().state, db.queue.list().length]
  })
  assert.deepEqual(asked, [[false, true], 'idle', 0])
  assert.deepEqual([names(server.live('flocks')), server.counts.refused], [['a'], 1])
})

test('what that server cannot take is a dead letter with its words; the rest goes on', { timeout: 30_000 }, async () => {
  const here = await withDatabase(async (db) => {
    await db.collection('barns').insert({ id: 'b1' })
    await db.collection('flocks').insert({ name: 'a' })
    await db.drain()
    return [db.deadLetters.list().map(({ collection, message }) => [collection, message]), db.collection('flocks').count()]
  })
  assert.deepEqual(here, [[['barns', 'Unknown entity: barns']], 1])
  assert.deepEqual(names(server.live('flocks')), ['a'])
})

test('two tabs share one copy of the rows: each is sent once, and both see all', { timeout: 30_000 }, async () => {
  const other = await site.open()
  const name = `egglogu-${crypto.randomUUID()}`
  const open = (tab) => tab.evaluate(async ({ url, name, collections, mapping }) => {
    const { eggloguTransport } = await import('/examples/egglogu-transport.mjs')
    globalThis.db = await openDatabase({ name, collections, sync: { transport: eggloguTransport({ url, scope: name, collections: mapping }), getToken: async () => 'token', auto: false } })
    await db.sync()
  }, { url: server.url, name, collections: COLLECTIONS, mapping: MAPPING })
  await open(page)
  await open(other)
  await page.evaluate(() => db.collection('flocks').insert({ name: 'first' }).then(() => db.sync()).then(() => {}))
  server.insert('flocks', { name: 'theirs' })
  const seen = await other.evaluate(async () => {
    await db.sync()
    await db.collection('flocks').insert({ name: 'second' })
    await db.sync()
    return db.collection('flocks').list({ orderBy: 'name' }).map(({ name }) => name)
  })
  await page.evaluate(() => db.sync().then(() => {}))
  assert.deepEqual(seen, ['first', 'second', 'theirs'])
  assert.deepEqual(await page.evaluate(() => db.collection('flocks').list({ orderBy: 'name' }).map(({ name }) => name)), seen)
  assert.equal(server.inserts(), 3)
  await other.close()
})
