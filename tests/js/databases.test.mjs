// Which databases there are, deleting one, and a guest who logs in.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

let site
let page

before(async () => {
  site = await openSite()
  page = await site.open()
})
after(() => site.close())

test('databases are listed with what was never sent, and deleted when nothing is lost by it', async () => {
  const result = await page.evaluate(async () => {
    const { listDatabases, deleteDatabase } = await import('/dist/homing.js')
    const sync = { url: 'http://127.0.0.1:9', auto: false }
    const mine = async () => (await listDatabases()).filter(({ name }) => name.startsWith('listed')).map(({ name, scope, pending, lastOpenedAt }) => [name, scope, pending, Date.parse(lastOpenedAt) > Date.now() - 60_000]).sort()
    const before = await mine()
    const a = await openDatabase({ name: 'listed', scope: 'user:1', sync })
    await a.collection('c').insertMany([{ id: 'x' }, { id: 'y' }])
    const b = await openDatabase({ name: 'listed:user', scope: '1', sync })
    const apart = b.collection('c').count()
    await b.close()
    const all = await mine()
    const open = (await failure(deleteDatabase({ name: 'listed', scope: 'user:1' }))).code
    await a.close()
    const pending = (await failure(deleteDatabase({ name: 'listed', scope: 'user:1' }))).code
    await deleteDatabase({ name: 'listed:user', scope: '1' })
    await deleteDatabase({ name: 'listed', scope: 'user:1', discardPending: true })
    await deleteDatabase({ name: 'listed', scope: 'never was' })
    return { before, apart, all, open, pending, after: await mine() }
  })
  assert.deepEqual(result, { before: [], apart: 0, all: [['listed', 'user:1', 2, true], ['listed:user', '1', 0, true]], open: 'blocked', pending: 'pending-work', after: [] })
})

test('a database without a server, and one without a scope, by its name alone', async () => {
  const result = await page.evaluate(async () => {
    const { deleteDatabase } = await import('/dist/homing.js')
    const db = await openDatabase({ name: 'alone', maxQueue: 1 })
    const write = db.collection('c').insert({ id: 'a' })
    const more = await failure(db.collection('c').insert({ id: 'b' }))
    const verdict = (await write.settled).status
    const sync = (await failure(db.sync())).code
    await db.close()
    // Nobody has looked at the status while it was open.
    const closed = db.status.getSnapshot().state
    const refused = (await failure(deleteDatabase({ name: 'alone' }))).code
    const again = await openDatabase({ name: 'alone' })
    const { state, pending } = again.status.getSnapshot()
    await again.close()
    await deleteDatabase({ name: 'alone', discardPending: true })
    const bad = []
    for (const which of [undefined, {}, { name: 'alone', scope: 7 }]) bad.push(await failure(deleteDatabase(which)))
    return { more, verdict, sync, closed, refused, state, pending, bad: bad.map(({ code, path }) => [code, path]) }
  })
  assert.deepEqual(result, { more: 'it resolved', verdict: 'local', sync: 'paused', closed: 'closed', refused: 'pending-work', state: 'paused', pending: 2, bad: [['invalid-record', '/name'], ['invalid-record', '/name'], ['invalid-record', '/scope']] })
})

test('a guest who logs in keeps what was written, under its ids', async () => {
  const result = await page.evaluate(async () => {
    const { listDatabases } = await import('/dist/homing.js')
    const collections = { pins: { sync: false } }
    const guest = await openDatabase({ name: 'login', collections })
    await guest.collection('flocks').insertMany([{ id: 'f1', name: 'North' }, { id: 'f2', name: 'South' }])
    await guest.collection('pins').insert({ id: 'p', pin: '1234' })
    const written = guest.queue.list().map(({ id }) => id)
    const options = { name: 'login', scope: 'user-7', adoptScope: '', collections, sync: { url: 'http://127.0.0.1:9', auto: false } }
    const blocked = (await failure(openDatabase(options))).code
    await guest.close()
    const db = await openDatabase(options)
    const rows = db.collection('flocks').list().map(({ name }) => name)
    const out = { blocked, rows, pin: db.collection('pins').get('p')?.pin, same: JSON.stringify(db.queue.list().map(({ id }) => id)) === JSON.stringify(written), client: db.clientId !== guest.clientId }
    // The guest's database goes away in the background.
    while ((await listDatabases()).some(({ name, scope }) => name === 'login' && scope === '')) await new Promise((resolve) => setTimeout(resolve, 10))
    await db.wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, { blocked: 'blocked', rows: ['North', 'South'], pin: '1234', same: true, client: true })
})

test('an open that fails while it takes over a guest\'s work leaves nothing behind that syncs', async () => {
  const result = await page.evaluate(async () => {
    const guest = await openDatabase({ name: 'full', collections: { pins: { sync: false } } })
    await guest.collection('flocks').insert({ id: 'f1' })
    await guest.close()
    let asked = 0
    const { fetch: real } = window
    window.fetch = async () => { asked++; throw new TypeError('no network') }
    const { add } = IDBObjectStore.prototype
    let adds = 0
    IDBObjectStore.prototype.add = function (...given) {
      // The first names the new database, the second is what the guest wrote.
      if (this.name === 'journal' && ++adds === 2) throw new DOMException('full', 'QuotaExceededError')
      return add.apply(this, given)
    }
    // In the page: only there the stub is met.
    const options = { name: 'full', scope: 'user-1', adoptScope: '', collections: { pins: { sync: false } }, worker: false, sync: { url: 'http://127.0.0.1:9', pollInterval: 50 } }
    const code = (await failure(openDatabase(options))).code
    IDBObjectStore.prototype.add = add
    const before = asked
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const later = asked - before
    window.fetch = real
    const db = await openDatabase({ ...options, sync: { ...options.sync, auto: false } })
    const rows = db.collection('flocks').list().map(({ id }) => id)
    await db.wipe({ discardPending: true })
    return { code, later, rows }
  })
  assert.deepEqual(result, { code: 'storage-full', later: 0, rows: ['f1'] })
})
