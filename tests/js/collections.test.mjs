// Collections, singletons and batches against the real engine in a real browser.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

let site
let page

before(async () => {
  site = await openSite()
  page = await site.open()
})
after(async () => {
  assert.deepEqual(site.problems, [])
  await site.close()
})

/** Runs `steps(db)` on a new database; resolves to what it returns. */
function withDatabase(steps, options = {}) {
  return page.evaluate(async ({ source, options }) => {
    const steps = new Function(`return (${source})`)()
    const db = await openDatabase({ name: `db-${crypto.randomUUID()}`, ...options })
    try {
      return await steps(db)
    } finally {
      await db.wipe({ discardPending: true })
    }
  }, { source: steps.toString(), options })
}

test('a write is seen at once, resolves to its frozen record, and survives closing', async () => {
  const seen = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'life' })
    const flocks = db.collection('flocks')
    const write = flocks.insert({ name: 'A', nested: { list: [{ n: 1 }] } })
    const atOnce = [flocks.get(write.recordId) === write.record, flocks.list()[0] === write.record, flocks.count(), flocks.state(write.recordId)]
    const row = await write
    const verdict = await write.settled
    const frozen = [row, row.nested, row.nested.list, row.nested.list[0], flocks.list()].map(Object.isFrozen)
    await db.close()
    const again = await openDatabase({ name: 'life' })
    const reopened = again.collection('flocks').get(row.id)
    await again.wipe()
    const empty = await openDatabase({ name: 'life' })
    const left = empty.collection('flocks').count()
    await empty.close()
    return { atOnce, same: row === write.record, verdict, frozen, row, reopened, left }
  })
  assert.deepEqual(seen.atOnce, [true, true, 1, 'local'])
  assert.ok(seen.same)
  assert.deepEqual(seen.verdict, { status: 'local' })
  assert.deepEqual(seen.frozen, Array(5).fill(true))
  assert.deepEqual(seen.reopened, seen.row)
  assert.equal(seen.left, 0)
})

test('each write keeps the record it made, and unchanged rows and lists keep their identity', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    const writes = [c.insert({ id: 'a', n: 1 }), c.update('a', { n: 2 }), c.update('a', (row) => ({ n: row.n + 1 })), c.put({ id: 'a', n: 4 }), c.insert({ id: 'b' })]
    const versions = (await Promise.all(writes)).map((row) => row.n)
    const [list, a] = [c.list(), c.get('a')]
    await c.update('b', { n: 1 })
    const kept = [c.get('a') === a, c.list()[0] === a, c.list() !== list]
    const after = c.list()
    db.collection('other').insert({ id: 'x' })
    kept.push(c.list() === after, c.getSnapshot() === after)
    const gone = [c.delete('a'), c.get('a'), c.count(), c.list({ includeDeleted: true }).map(({ id }) => id).join()]
    await gone[0]
    const back = c.undelete('a')
    return { versions, kept, gone: gone.slice(1), undone: (await back).n, order: c.list().map(({ id }) => id).join(), removed: (await c.update('a', { n: undefined })).n === undefined }
  }, { collections: { c: { sync: false } } })
  assert.deepEqual(result, { versions: [1, 2, 3, 4, undefined], kept: Array(5).fill(true), gone: [undefined, 1, 'b,a'], undone: 4, order: 'a,b', removed: true })
})

test('many records are one write', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    const write = c.insertMany(Array.from({ length: 3000 }, (_, n) => ({ id: `r${n}`, n })))
    const atOnce = c.count()
    c.update('r0', { n: -1 })
    const rows = await write
    const clash = await failure(c.insertMany([{ id: 'new' }, { id: 'r5' }]))
    return { atOnce, first: rows[0].n, now: c.get('r0').n, length: rows.length, ids: write.recordIds.length, verdicts: (await write.settled).length, clash: [clash.code, clash.path], new: c.get('new') === undefined, order: c.list().every((row, at) => row.id === `r${at}`), none: (await c.insertMany([])).length }
  })
  assert.deepEqual(result, { atOnce: 3000, first: 0, now: -1, length: 3000, ids: 3000, verdicts: 3000, clash: ['duplicate-id', '/1/id'], new: true, order: true, none: 0 })
})

test('listeners are told in a microtask, what changed, and one that throws stops nobody', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    const reported = []
    const report = (event) => { reported.push(event.error.message); event.preventDefault() }
    window.addEventListener('error', report)
    const heard = []
    c.subscribe(() => { throw new Error('mine') })
    const stop = c.subscribe(({ source, added, updated, removed }) => heard.push([source, added.map(({ id }) => id), updated.map(({ id }) => id), removed]))
    const write = c.insert({ id: 'a' })
    const before = heard.length
    await null
    const soon = heard.length
    await write
    await c.update('a', { n: 1 })
    await Promise.all([c.insert({ id: 'b' }), c.insert({ id: 'c' }), c.delete('a')])
    stop()
    await c.insert({ id: 'd' })
    window.removeEventListener('error', report)
    return { before, soon, heard, reported: new Set(reported).size }
  })
  assert.deepEqual([result.before, result.soon, result.reported], [0, 1, 1])
  assert.deepEqual(result.heard.map((change) => JSON.stringify(change)), ['["local",["a"],[],[]]', '["local",[],["a"],[]]', '["local",["b","c"],[],["a"]]'])
})

test('a live query speaks only when its result changes; a record only when it does; every API may be called from a listener', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    await c.insertMany([{ id: 'a', n: 1 }, { id: 'b', n: 5 }])
    const big = c.query({ where: { n: { gt: 3 } }, orderBy: '-n' })
    const record = c.record('a')
    const heard = []
    big.subscribe(({ added, removed }) => heard.push(['big', added.map(({ id }) => id).join(), removed.join()]))
    record.subscribe((row) => { heard.push(['a', row?.n ?? null]); if (row?.n === 2) c.insert({ id: 'from', n: 9 }) })
    const first = big.getSnapshot()
    await c.insert({ id: 'small', n: 0 })
    const kept = big.getSnapshot() === first
    await c.update('a', { n: 2 })
    await c.update('a', { n: 7 })
    await c.delete('b')
    await c.delete('a')
    return { heard, kept, stable: big.getSnapshot() === big.getSnapshot(), now: big.getSnapshot().map(({ id }) => id) }
  })
  assert.deepEqual(result, { heard: [['a', 2], ['big', 'from', ''], ['big', 'a', ''], ['a', 7], ['big', '', 'b'], ['big', '', 'a'], ['a', null]], kept: true, stable: true, now: ['from'] })
})

test('singletons', async () => {
  const result = await withDatabase(async (db) => {
    const settings = db.singleton('settings')
    const heard = []
    settings.subscribe((row) => heard.push(row?.dark))
    const missing = (await failure(settings.update({ dark: true }))).code
    await settings.set({ dark: false, of: { a: 1 } })
    const row = settings.get()
    await settings.update((before) => ({ dark: !before.dark }))
    return { missing, heard, of: settings.get().of, same: row !== settings.get(), bad: (await failure(settings.set(7))).code, getter: (await failure(settings.set({ get x() { throw new Error() } }))).code }
  }, { collections: { settings: { singleton: true } } })
  assert.deepEqual(result, { missing: 'not-found', heard: [false, true], of: { a: 1 }, same: true, bad: 'invalid-record', getter: 'invalid-record' })
})

test('a batch is all or nothing and reads what it wrote', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    await c.insert({ id: 'a', n: 1 })
    const parts = []
    const batch = db.batch((tx) => {
      const t = tx.collection('c')
      parts.push(t.insert({ n: 2 }), t.update('a', (row) => ({ n: row.n + 1 })), t.delete('a'), t.insert({ id: 'b', n: 3 }))
      tx.singleton('s').set({ x: 1 })
      return [t.get('a') === undefined, t.list({ orderBy: '-n' }).map(({ n }) => n).join(), parts[0].record.n, c.count()]
    })
    const inside = await batch
    const verdicts = (await batch.settled).map(({ status }) => status)
    const own = (await parts[0]).n
    const refused = db.batch((tx) => { tx.collection('c').insert({ id: 'new' }); tx.collection('c').update('nope', (row) => row) })
    const refusal = [(await failure(refused)).code, c.get('new') === undefined]
    const clash = (await failure(db.batch((tx) => { tx.collection('c').insert({ id: 'new' }); tx.collection('c').insert({ id: 'b' }) }))).code
    const thrown = await failure(db.batch((tx) => { tx.collection('c').insert({ id: 'new' }); throw new Error('mine') }))
    let late
    await db.batch((tx) => { late = tx })
    return { inside, verdicts, own, refusal, clash, thrown: thrown.code, nothing: c.get('new') === undefined, late: (await failure(late.collection('c').insert({}))).code, s: db.singleton('s').get().x }
  })
  assert.deepEqual(result, { inside: [true, '3,2', 2, 1], verdicts: Array(5).fill('local'), own: 2, refusal: ['not-found', true], clash: 'duplicate-id', thrown: 'aborted', nothing: true, late: 'closed', s: 1 })
})

test('a batch whose function returns a promise writes nothing, and what that fails at is no error of the page', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    let after
    const promised = await Promise.all([
      (tx) => Promise.all([tx.collection('c').insert({ id: 'half' })]),
      async (tx) => { tx.collection('c').insert({ id: 'half' }); await 0; await (after = failure(tx.collection('c').insert({ id: 'rest' }))); throw new Error('mine') },
      async (tx) => { tx.collection('c').update('nope', (row) => row) },
    ].map((work) => failure(db.batch(work))))
    const codes = promised.map(({ code }) => code)
    return { codes, message: promised[0].message, after: (await after).code, written: c.count(), own: (await db.batch((tx) => tx.collection('c').insert({ id: 'own' }))).id }
  })
  assert.match(result.message, /synchronous/)
  assert.deepEqual({ ...result, message: 0 }, { codes: ['invalid-record', 'invalid-record', 'not-found'], message: 0, after: 'closed', written: 0, own: 'own' })
})

test('each write of a batch that is refused is settled, as the batch is', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    await c.insert({ id: 'a', n: 1 })
    const parts = []
    const refusals = [
      (tx) => { parts.push(tx.insert({ id: 'b' }), tx.update('nobody', { n: 1 })) },
      (tx) => { parts.push(tx.insert({ id: 'b' }), tx.delete('a'), tx.insert({ id: 'a' })); throw new Error('mine') },
      (tx) => { parts.push(tx.insert({ id: 'b' }), tx.insert({ id: 'b' })) },
    ]
    const codes = []
    for (const work of refusals) codes.push((await failure(db.batch((tx) => work(tx.collection('c'))))).code)
    const settled = await Promise.all(parts.map((part) => part.settled))
    const kept = c.insert({ id: 'b', n: 2 })
    c.update('b', { n: 3 })
    return { codes, verdicts: new Set(settled.map((verdict) => JSON.stringify(verdict))).size, verdict: settled[0], parts: parts.length, kept: (await kept).n }
  })
  assert.deepEqual(result, { codes: ['not-found', 'aborted', 'duplicate-id'], verdicts: 1, verdict: { status: 'cancelled', mutationId: null }, parts: 7, kept: 2 })
})

test('bad input is refused with code and path, nothing throws, nothing is written', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    await c.insert({ id: 'a' })
    const cyclic = {}
    cyclic.self = cyclic
    const deep = JSON.parse('{"a":'.repeat(5000) + '1' + '}'.repeat(5000))
    const calls = {
      number: () => c.insert(7), null: () => c.insert(null), array: () => c.insert([]), nan: () => c.insert({ a: [NaN] }), bigint: () => c.put({ id: 'a', n: 1n }), cyclic: () => c.insert(cyclic), deep: () => c.insert({ deep }),
      proto: () => c.insert(JSON.parse('{"__proto__":{"x":1}}')), surrogate: () => c.insert({ t: '\ud800' }), singleton: () => c.put({ id: '$singleton' }), noId: () => c.put({}), numberId: () => c.insert({ id: 5 }), emptyId: () => c.insert({ id: '' }), dollar: () => c.insert({ id: '$x' }),
      control: () => c.insert({ id: 'a\u0007' }), long: () => c.insert({ id: 'x'.repeat(129) }), big: () => c.insert({ t: 'x'.repeat(1024 * 1024) }), patch: () => c.update('a', { n: () => {} }), otherId: () => c.update('a', { id: 'b' }), noPatch: () => c.update('a', 5),
      throwing: () => c.update('a', () => { throw new Error('mine') }), badTarget: () => c.delete(7), missing: () => c.delete('nope'), undelete: () => c.undelete('nope'), name: () => db.collection('').insert({}), archive: () => db.collection('_conflictArchive').insert({}), many: () => c.insertMany('abc'),
    }
    const out = {}
    for (const [name, call] of Object.entries(calls)) {
      const { homing, code, path } = await failure(call())
      out[name] = homing ? [code, path] : 'no HomingError'
    }
    return { out, count: c.list().length, queued: db.queue.list().length, polluted: {}.x, reads: [c.get(undefined) === undefined, c.get(7) === undefined, c.state({}), c.confirmed(null) === undefined, db.collection('__proto__').list().length] }
  }, { sync: { url: 'http://127.0.0.1:9', auto: false } })
  const { deep, cyclic, ...out } = result.out
  assert.deepEqual([deep[0], cyclic[0]], ['invalid-record', 'invalid-record'])
  assert.deepEqual(out, {
    number: ['invalid-record', ''], null: ['invalid-record', ''], array: ['invalid-record', ''], nan: ['invalid-record', '/a/0'], bigint: ['invalid-record', '/n'], proto: ['invalid-record', '/__proto__'], surrogate: ['invalid-record', '/t'],
    singleton: ['invalid-id', '/id'], noId: ['invalid-id', '/id'], numberId: ['invalid-id', '/id'], emptyId: ['invalid-id', '/id'], dollar: ['invalid-id', '/id'], control: ['invalid-id', '/id'], long: ['invalid-id', '/id'], big: ['too-large', out.big[1]], patch: ['invalid-record', '/n'], otherId: ['invalid-id', '/id'],
    noPatch: ['invalid-record', ''], throwing: ['aborted', null], badTarget: ['invalid-id', '/id'], missing: ['not-found', null], undelete: ['not-found', null], name: ['invalid-record', null], archive: ['invalid-record', null], many: ['invalid-record', ''],
  })
  assert.deepEqual([result.count, result.queued, result.polluted], [1, 1, undefined])
  assert.deepEqual(result.reads, [true, true, 'local', true, 0])
})

test('who follows the status hears of every change, also of one that somebody else has read first', async () => {
  const result = await withDatabase(async (db) => {
    const c = db.collection('c')
    let shown = db.status.getSnapshot().pending
    const stop = db.status.subscribe(() => { shown = db.status.getSnapshot().pending })
    await c.insert({})
    const read = c.insert({})
    db.status.getSnapshot()
    await read
    const afterRead = shown
    c.subscribe(() => db.status.getSnapshot())
    await c.insert({})
    const afterListener = shown
    stop()
    await c.insert({})
    db.status.subscribe(() => { shown = db.status.getSnapshot().pending })
    await c.insert({})
    return { afterRead, afterListener, afterPause: shown, pending: db.status.getSnapshot().pending }
  }, { sync: { url: 'http://127.0.0.1:9', auto: false } })
  assert.deepEqual(result, { afterRead: 2, afterListener: 3, afterPause: 5, pending: 5 })
})

test('after closing reads stay, writes are refused, closing again is fine, verdicts end', async () => {
  const result = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'closing', sync: { url: 'http://127.0.0.1:9', auto: false } })
    const c = db.collection('c')
    const states = []
    db.status.subscribe(() => states.push(db.status.getSnapshot().state))
    const write = c.insert({ id: 'a' })
    c.list()
    await Promise.all([db.close(), db.close()])
    const refused = await Promise.all([c.insert({}), c.insertMany([{}]), db.batch(() => 1), db.sync(), db.saveDocument({}), db.exportDocument(), db.importDocument({}), db.wipe()].map(failure))
    const out = { durable: (await write).id, verdict: (await write.settled).status, list: c.list().length, status: db.status.getSnapshot().state, states, codes: refused.map(({ code }) => code), refresh: db.refreshDocument({}).length }
    await (await openDatabase({ name: 'closing' })).wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, { durable: 'a', verdict: 'closed', list: 1, status: 'closed', states: result.states, codes: Array(8).fill('closed'), refresh: 0 })
  assert.equal(result.states.at(-1), 'closed')
})

test('who opens during a wipe gets an empty database, or the one that was not wiped; who wipes then, too, waits', async () => {
  const result = await page.evaluate(async () => {
    const options = { name: 'wiping', sync: { url: 'http://127.0.0.1:9', auto: false } }
    const db = await openDatabase(options)
    await db.collection('c').insert({ id: 'a' })
    const [refused, second] = await Promise.all([failure(db.wipe()), openDatabase(options)])
    const kept = [refused.code, second.clientId === db.clientId, (await second.collection('c').insert({ id: 'b' })).id, db.collection('c').count()]
    const [, again, third] = await Promise.all([db.wipe({ discardPending: true }), failure(second.wipe({ discardPending: true })), openDatabase(options)])
    const empty = [again.code, third.collection('c').count(), (await third.collection('c').insert({ id: 'c' })).id, (await failure(db.collection('c').insert({}))).code]
    await third.wipe({ discardPending: true })
    return { kept, empty }
  })
  assert.deepEqual(result, { kept: ['pending-work', true, 'b', 2], empty: ['closed', 0, 'c', 'closed'] })
})

test('closing during a wipe: both come to their end, and nothing is left; one that is refused leaves the database to who waited for it', async () => {
  const result = await page.evaluate(async () => {
    const options = { name: 'wiped-and-closed', sync: { url: 'http://127.0.0.1:9', auto: false } }
    const done = (promise) => promise.then(() => 'done', ({ code }) => code)
    const first = await openDatabase(options)
    await first.collection('c').insert({ id: 'a' })
    const refused = await Promise.all([done(first.wipe()), done(first.close()), openDatabase(options)])
    const db = refused.pop()
    const usable = (await db.collection('c').insert({ id: 'b' })).id
    const both = await Promise.all([done(db.wipe({ discardPending: true })), done(db.close())])
    const left = (await indexedDB.databases()).filter(({ name }) => name.includes('wiped-and-closed')).length
    const again = await openDatabase(options)
    const count = again.collection('c').count()
    await again.wipe()
    return { refused, usable, both, left, count }
  })
  assert.deepEqual(result, { refused: ['pending-work', 'done'], usable: 'b', both: ['done', 'done'], left: 0, count: 0 })
})

test('the same database twice is one engine, counted; other options are refused', async () => {
  const result = await page.evaluate(async () => {
    const options = { name: 'shared', collections: { c: { label: 'n' } } }
    const [one, two] = await Promise.all([openDatabase(options), openDatabase(options)])
    const other = await failure(openDatabase({ ...options, durability: 'strict' }))
    const scoped = await openDatabase({ ...options, scope: 'somebody' })
    one.collection('c').insert({ id: 'a' })
    const seen = [two.collection('c').count(), scoped.collection('c').count(), one.clientId === two.clientId, one.clientId === scoped.clientId]
    await one.close()
    await two.collection('c').insert({ id: 'b' })
    const closing = two.close()
    const three = await openDatabase({ ...options, durability: 'strict' })
    await closing
    const after = three.collection('c').count()
    await Promise.all([three.wipe(), scoped.wipe()])
    const cyclic = {}
    cyclic.fields = cyclic
    const bad = await Promise.all([openDatabase(), openDatabase({ name: '' }), openDatabase({ name: 'x', storage: 'floppy' }), openDatabase({ name: 'x', sync: {} }), openDatabase({ name: 'x', signal: AbortSignal.abort() }), openDatabase({ name: 'x', version: 1n }), openDatabase({ name: 'x', collections: { fine: {}, c: cyclic } }), openDatabase({ name: 'x', sync: { url: '/', timeout: 1n } })].map(failure))
    return { other: other.code, seen, after, bad: bad.map(({ homing, code, path }) => [homing, code, path]) }
  })
  assert.deepEqual(result, { other: 'options-differ', seen: [1, 0, true, false], after: 2, bad: [[true, 'invalid-record', ''], [true, 'invalid-record', '/name'], [true, 'invalid-record', '/storage'], [true, 'invalid-record', '/sync'], [true, 'aborted', null], [true, 'invalid-record', '/version'], [true, 'invalid-record', '/collections/c/fields/fields'], [true, 'invalid-record', '/sync/timeout']] })
})

test('a log-out is refused while something is unsent', async () => {
  const result = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'logout', sync: { url: 'http://127.0.0.1:9', auto: false } })
    await db.collection('c').insert({ id: 'a' })
    const refused = await failure(db.wipe())
    const usable = (await db.collection('c').insert({ id: 'b' })).id
    await db.wipe({ discardPending: true })
    const databases = (await indexedDB.databases()).map(({ name }) => name).filter((name) => name.includes('logout'))
    return { refused: refused.code, usable, databases }
  })
  assert.deepEqual(result, { refused: 'pending-work', usable: 'b', databases: [] })
})

test('another tab sees what this one wrote, also under a listener', async () => {
  const other = await site.open()
  const open = async () => {
    window.db = await openDatabase({ name: 'tabs' })
    window.heard = new Promise((resolve) => window.db.collection('c').subscribe((change) => resolve(change.source)))
  }
  await page.evaluate(open)
  await other.evaluate(open)
  await page.evaluate(() => window.db.collection('c').insert({ id: 'a' }))
  assert.equal(await other.evaluate(() => window.heard), 'tab')
  assert.equal(await other.evaluate(() => window.db.collection('c').get('a')?.id), 'a')
  await other.evaluate(() => window.db.collection('c').update('a', { n: 2 }))
  await page.waitForFunction(() => window.db.collection('c').get('a').n === 2)
  await other.evaluate(() => window.db.close())
  await page.evaluate(() => window.db.wipe())
  await other.close()
})
