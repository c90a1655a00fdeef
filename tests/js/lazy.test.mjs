// Collections declared `lazy` in a real browser: what is read when, and what the app is told meanwhile. A server in the page sends one
// collection per answer; what is read of IndexedDB is counted where it is asked for. Not here: what a compaction keeps
// (`tests/lazy`, the simulation).

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

const NAMES = Array.from({ length: 26 }, (_, at) => `c${at}`)
const ROWS = 400

let site
let page

before(async () => {
  site = await openSite()
  page = await site.open()
  await prepare(page)
})
after(async () => {
  assert.deepEqual(site.problems, [])
  await site.close()
})

/** What the tests use in the page. */
function prepare(page) {
  return page.evaluate(({ names, rows }) => {
    const record = (name, n) => ({ id: `${name}-${n}`, name: `Layer Group ${n}`, notes: 'x'.repeat(300), _updatedAt: '2026-02-01T00:00:00.000Z', _deletedAt: null })
    /** Sends one collection per answer; what is pushed is applied. `more` are further pages. */
    window.serve = (more = []) => {
      const pages = [...names.map((name) => ({ collection: name, records: Array.from({ length: rows }, (_, n) => record(name, n)) })), ...more]
      let rev = 0
      const stamped = pages.map(({ collection, records }) => ({ collection, records: records.map((row) => ({ ...row, _rev: ++rev })) }))
      const answer = ({ requestId, cursor, mutations = [] }) => {
        const from = cursor === null ? 0 : Number(cursor.slice(3))
        const changes = stamped.slice(from, from + 1)
        const results = mutations.map(({ id }) => ({ id, status: 'applied', rev: ++rev }))
        return {
          protocol: 1, requestId, serverTime: new Date().toISOString(), scope: 'farm', epoch: 'e1', results, changes, rev,
          cursor: `c1.${Math.min(from + 1, stamped.length)}`, hasMore: from + 1 < stamped.length, reset: false, horizon: '2026-01-01T00:00:00.000Z',
        }
      }
      return { transport: { push: async (request) => answer(request), pull: async (request) => answer(request) }, auto: false }
    }
    window.collections = (lazy) => Object.fromEntries(names.map((name) => [name, { lazy }]))
    const settle = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
    /** The stored segments by name, and whether everything up to the newest row is in them. */
    window.stored = async (database) => {
      const found = (await indexedDB.databases()).map(({ name }) => name).find((name) => name.includes(database))
      const db = await settle(indexedDB.open(found))
      const transaction = db.transaction(['journal', 'segments', 'meta'])
      const [keys, texts, compacted, left] = await Promise.all([
        transaction.objectStore('segments').getAllKeys(), transaction.objectStore('segments').getAll(), transaction.objectStore('meta').get('compacted'), transaction.objectStore('journal').count(),
      ].map(settle))
      db.close()
      const decoder = new TextDecoder()
      return { compacted: compacted ?? 0, left, segments: keys.map((key, at) => ({ key, bytes: texts[at].length, text: decoder.decode(texts[at]) })) }
    }
    /** Everything of that server in a database, and in its segments. */
    window.fill = async (name, options = {}) => {
      const db = await openDatabase({ name, collections: collections(true), sync: serve(), ...options })
      await db.sync()
      while ((await stored(name)).compacted === 0) await new Promise((resolve) => requestIdleCallback(resolve))
      await db.close()
    }
    /** Bytes that IndexedDB gives back, by store, from now on. */
    window.watchReads = () => {
      const read = {}
      const undo = ['get', 'getAll'].map((method) => {
        const original = IDBObjectStore.prototype[method]
        IDBObjectStore.prototype[method] = function counted(...args) {
          const request = original.apply(this, args)
          request.addEventListener('success', () => {
            for (const value of [request.result].flat()) if (value instanceof Uint8Array) read[this.name] = (read[this.name] ?? 0) + value.length
          })
          return request
        }
        return () => { IDBObjectStore.prototype[method] = original }
      })
      return { read, stop: () => undo.forEach((restore) => restore()) }
    }
  }, { names: NAMES, rows: ROWS })
}

test('opening 1 of 26 lazy collections and waiting 5 s reads only its bytes', async () => {
  const result = await page.evaluate(async () => {
    // In the page, so that its reads can be counted.
    await fill('one-of-26', { worker: false })
    const { segments } = await stored('one-of-26')
    const own = (name) => segments.filter(({ text }) => text.includes(`"${name}-`)).reduce((sum, { bytes }) => sum + bytes, 0)
    const watch = watchReads()
    const db = await openDatabase({ name: 'one-of-26', collections: collections(true), sync: { ...serve(), auto: true }, worker: false })
    const opened = watch.read.segments ?? 0
    const c7 = db.collection('c7')
    await c7.ready
    const ready = watch.read.segments
    const rows = c7.list().length
    await new Promise((resolve) => setTimeout(resolve, 5000))
    const waited = watch.read.segments
    watch.stop()
    await db.wipe()
    return { opened, ready, waited, rows, own: own('c7'), all: segments.reduce((sum, { bytes }) => sum + bytes, 0) }
  })
  console.log(JSON.stringify(result))
  assert.equal(result.opened, 0)
  assert.equal(result.ready, result.own)
  assert.equal(result.waited, result.own)
  assert.equal(result.rows, ROWS)
  assert.ok(result.own * 20 < result.all, 'there was more to read')
})

test('before it is there it is not loaded; who follows it is told when it is', async () => {
  const result = await page.evaluate(async (rows) => {
    await fill('early')
    const db = await openDatabase({ name: 'early', collections: collections(true), sync: serve() })
    const thrown = (work) => {
      try {
        return work()
      } catch (error) {
        return [error instanceof HomingError, error.code, error.retryable]
      }
    }
    const untouched = db.collection('c0')
    const reads = ['get', 'list', 'count', 'state', 'confirmed'].map((name) => thrown(() => untouched[name]('c0-1'))[1])
    const codes = async (name) => {
      const c = db.collection(name)
      const writes = [c.insert({ id: `${name}-1` }), c.insertMany([{ n: 1 }]), c.put({ id: `${name}-1` }), c.update(`${name}-1`, { n: 1 }), c.update(`${name}-1`, () => ({ n: 1 })), c.delete(`${name}-1`), c.undelete(`${name}-1`)]
      const batch = db.batch((tx) => { tx.collection(name).insert({ id: 'new' }) })
      const found = await Promise.all([...writes, batch].map((write) => failure(write)))
      return [...new Set(found.map(({ code, phase }) => `${code} ${phase}`))]
    }
    const refused = await codes('c1')
    const shape = thrown(() => db.collection('c2').list())
    // Asking too early began to read it.
    await db.collection('c2').ready
    const later = db.collection('c2').count()

    const c3 = db.collection('c3')
    const told = []
    const query = c3.query({ where: { name: 'Layer Group 7' } })
    const one = c3.record('c3-9')
    const before = [c3.getSnapshot().length, query.getSnapshot().length, one.getSnapshot()]
    const followed = new Promise((resolve) => {
      c3.subscribe(({ added }) => { told.push(['all', added.length, c3.getSnapshot().length]) })
      query.subscribe(({ added }) => told.push(['query', added.length]))
      one.subscribe((row) => { told.push(['one', row.id]), resolve() })
    })
    await followed
    const same = c3.ready === c3.ready && db.collection('other').ready === db.collection('unknown').ready
    await c3.ready
    const heard = told.splice(0).sort()
    const written = await c3.update('c3-9', { n: 9 })
    const c4 = db.collection('c4')
    await c4.ready
    const batch = await db.batch((tx) => {
      tx.collection('c4').update('c4-1', { n: 1 })
      return tx.collection('c4').list().length
    })
    await db.close()
    const after = [c3.list().length, db.collection('c9').list().length]
    await (await openDatabase({ name: 'early', collections: collections(true), sync: serve() })).wipe({ discardPending: true })
    return { reads, refused, shape, later, before, told: heard, same, written: written.n, batch, after, rows }
  }, ROWS)
  assert.deepEqual(result.reads, Array(5).fill('not-loaded'))
  assert.deepEqual(result.refused, ['not-loaded write'])
  assert.deepEqual(result.shape, [true, 'not-loaded', true])
  assert.equal(result.later, ROWS)
  assert.deepEqual(result.before, [0, 0, undefined])
  assert.deepEqual(result.told, [['all', ROWS, ROWS], ['one', 'c3-9'], ['query', 1]])
  assert.deepEqual([result.same, result.written, result.batch], [true, 9, ROWS])
  assert.deepEqual(result.after, [ROWS, 0], 'what was read stays readable')
})

test('what arrives for one is there when it is read, after a reload, and in another tab', async () => {
  const result = await page.evaluate(async () => {
    await fill('arrives')
    const more = [{ collection: 'c5', records: [{ id: 'new', name: 'New', _updatedAt: '2026-02-02T00:00:00.000Z', _deletedAt: null }, { id: 'c5-1', _updatedAt: '2026-02-02T00:00:00.000Z', _deletedAt: '2026-02-02T00:00:00.000Z' }] }]
    const open = () => openDatabase({ name: 'arrives', collections: collections(true), sync: serve(more) })
    const look = async (db) => {
      const c5 = db.collection('c5')
      await c5.ready
      return [c5.count(), c5.get('new')?.name, c5.get('c5-1'), c5.list({ includeDeleted: true }).length, c5.list().at(-1).id]
    }
    let db = await open()
    const { pulled } = await db.sync()
    const first = await look(db)
    await db.close()
    db = await open()
    const second = await look(db)
    await db.wipe()
    return { pulled, first, second }
  })
  const expected = [ROWS, 'New', undefined, ROWS + 1, 'new']
  assert.deepEqual(result, { pulled: 2, first: expected, second: expected })
})

test('documents are made of everything', async () => {
  const result = await page.evaluate(async () => {
    await fill('tree')
    const open = () => openDatabase({ name: 'tree', collections: collections(true), sync: serve() })
    let db = await open()
    let early
    try {
      db.refreshDocument({})
    } catch (error) {
      early = error.code
    }
    const tree = await db.exportDocument()
    const lengths = new Set(Object.values(tree).map((rows) => rows.length))
    tree.c3[0].name = 'Renamed'
    const saved = await db.saveDocument(tree)
    await db.close()
    db = await open()
    // Without an export it is an import, and the app may go on with its tree.
    const other = { c3: [{ id: 'c3-2', name: 'Layer Group 2', notes: 'x'.repeat(300) }, { id: 'imported' }] }
    const importing = db.saveDocument(other)
    other.c3[1].id = 'changed at once'
    const imported = await importing
    const ids = [db.collection('c3').get('imported')?.id, db.collection('c3').get('changed at once')?.id]
    await db.wipe({ discardPending: true })
    return { early, names: Object.keys(tree).length, lengths: [...lengths], saved: [saved.updated, saved.inserted, saved.deleted], imported: [imported.inserted, imported.deleted], ids }
  })
  assert.deepEqual(result, { early: 'not-loaded', names: 26, lengths: [ROWS], saved: [1, 0, 0], imported: [1, 0], ids: ['imported', undefined] })
})

test('26 lazy collections are opened without reading them, and take less memory', async () => {
  await page.evaluate(() => fill('compared', { worker: false }))
  const seen = {}
  for (const lazy of [true, false]) {
    // A module of its own: its memory only grows.
    const fresh = await site.open()
    await prepare(fresh)
    seen[lazy] = await fresh.evaluate(async (lazy) => {
      const memories = []
      const original = WebAssembly.instantiate
      WebAssembly.instantiate = async (...args) => {
        const result = await original.apply(WebAssembly, args)
        for (const value of Object.values((result.instance ?? result).exports)) if (value instanceof WebAssembly.Memory) memories.push(value)
        return result
      }
      const all = (await stored('compared')).segments.reduce((sum, { bytes }) => sum + bytes, 0)
      const watch = watchReads()
      const db = await openDatabase({ name: 'compared', collections: collections(lazy), sync: serve(), worker: false })
      const read = watch.read.segments ?? 0
      watch.stop()
      const memory = memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
      await (lazy ? db.close() : db.wipe())
      return { all, read, memory }
    }, lazy)
    await fresh.close()
  }
  console.log(JSON.stringify(seen))
  assert.ok(seen.true.all > 0)
  assert.equal(seen.true.read, 0)
  assert.equal(seen.false.read, seen.false.all)
  assert.ok(seen.true.memory > 0 && seen.true.memory * 2 < seen.false.memory)
})
