// The engine in a worker: what only that mode can get wrong. That everything else works there as well is shown by the suite `worker`
// (scripts/support/suites.mjs), which runs the tests of the shell with every database in a worker.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { answerPage, startFakeServer } from '../support/fake-server.mjs'
import { openSite } from './page.mjs'

const POLICY = `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="worker-src 'self'">
<script type="module">
  import { openDatabase } from '/dist/homing.js'
  window.openDatabase = openDatabase
  window.ready = true
</script>`

let server
let site
let page

before(async () => {
  server = await startFakeServer()
  site = await openSite({ files: { '/policy': POLICY } })
  page = await site.open()
})
after(async () => {
  await site.close()
  await server.close()
})

/** Runs `steps(db, arg)` on a new database in a worker. `options` may name functions by their source. */
function inWorker(steps, options = {}, arg = null) {
  return page.evaluate(async ({ source, options, arg }) => {
    const steps = new Function(`return (${source})`)()
    const db = await openDatabase({ name: `worker-${crypto.randomUUID()}`, worker: true, ...options })
    try {
      return await steps(db, arg)
    } finally {
      await db.wipe({ discardPending: true })
    }
  }, { source: steps.toString(), options, arg })
}

test('what is shown at once is what the worker makes of it: every write is told once', async () => {
  const result = await inWorker(async (db) => {
    const c = db.collection('c')
    const told = []
    c.subscribe(({ source, added, updated, removed }) => told.push([source, added.map(({ id }) => id), updated.map(({ id }) => id), removed]))
    const kept = []
    const also = async (write, id) => {
      const shown = c.get(id)
      await write
      kept.push(c.get(id) === shown)
    }
    await also(c.insert({ id: 'a', n: 1, text: 'ü"\\\n', nested: { list: [1, null] } }), 'a')
    await also(c.update('a', { n: 2, text: undefined }), 'a')
    await also(c.put({ id: 'a', other: true }), 'a')
    await also(c.put({ id: 'a', other: true }), 'a')
    await also(c.delete('a'), 'a')
    await also(c.undelete('a'), 'a')
    await also(c.insertMany(Array.from({ length: 200 }, (_, n) => ({ id: `r${n}`, n }))), 'r7')
    await also(db.batch((tx) => { tx.collection('c').update('a', { n: 1 }); tx.collection('c').update('a', { n: 2 }); tx.collection('c').delete('r0') }), 'a')
    // An answer of the worker comes behind all it had to tell.
    await db.conflicts.purge()
    return { told, kept }
  }, { collections: { c: { sync: false } } })
  const many = Array.from({ length: 200 }, (_, n) => `r${n}`)
  assert.deepEqual(result.told, [
    ['local', ['a'], [], []], ['local', [], ['a'], []], ['local', [], ['a'], []], ['local', [], [], ['a']], ['local', ['a'], [], []],
    ['local', many, [], []], ['local', [], ['a'], ['r0']],
  ])
  assert.deepEqual(result.kept, Array(8).fill(true))
})

test('a write that the worker refuses is taken back, and those who look are told', async () => {
  const result = await inWorker(async (db) => {
    const c = db.collection('c')
    await c.insert({ id: 'a', n: 1 })
    const told = []
    c.subscribe(({ added, updated, removed }) => told.push([added, updated].map((rows) => rows.map(({ id, n }) => [id, n])).concat([removed])))
    const over = c.insertMany([{ id: 'b', n: 2 }, { id: 'd', n: 4 }])
    const shown = [c.get('b')?.n, c.count(), c.state('b')]
    await new Promise((resolve) => queueMicrotask(resolve))
    const refused = await failure(over)
    const verdict = await over.settled
    // On the same record: what came before stays, what was refused goes.
    const good = c.update('a', { n: 3 })
    const refusals = Promise.all([c.insert({ id: 'a', n: 9 }), c.update('nobody', { n: 1 }), c.delete('b')].map(failure))
    const codes = [(await good).n, ...(await refusals).map(({ code }) => code)]
    return { shown, refused: [refused.homing, refused.code], verdict, left: c.list().map(({ id, n }) => [id, n]), gone: c.get('b') === undefined, told, codes, pending: db.status.getSnapshot().pending }
  }, { maxQueue: 2, sync: { url: 'http://127.0.0.1:9', auto: false } })
  assert.deepEqual(result, {
    shown: [2, 3, 'queued'], refused: [true, 'queue-full'], verdict: Array(2).fill({ status: 'cancelled', mutationId: null }), left: [['a', 3]], gone: true,
    told: [[[['b', 2], ['d', 4]], [], []], [[], [], ['b', 'd']], [[], [['a', 3]], []]], codes: [3, 'duplicate-id', 'not-found', 'not-found'], pending: 1,
  })
})

test('a key whose write came to nothing is free: the next write under it is shown at once, as itself', async () => {
  const result = await inWorker(async (db) => {
    const c = db.collection('c')
    const key = { idempotencyKey: 'form' }
    await c.insert({ id: 'a', n: 1 })
    const refused = (await failure(c.insert({ n: 2 }, key))).code
    await db.queue.discard(db.queue.list()[0].id)
    const out = []
    const write = async () => {
      const write = c.insert({ n: 2 }, key)
      const [shown, id] = [c.list().map(({ n }) => n), write.recordId]
      const again = c.insert({ n: 2 }, key)
      out.push(shown, c.get(id)?.n, again.recordId === id, (await write).id === id, (await again).id === id, c.count())
    }
    await write()
    await db.queue.discard(db.queue.list()[0].id)
    await write()
    // What is refused because the key is another write's leaves that one its key.
    const other = (await failure(db.collection('d').insert({ n: 2 }, key))).code
    return { refused, out, other, last: (await c.insert({ n: 2 }, key)).id === c.list()[0].id }
  }, { maxQueue: 1, sync: { url: 'http://127.0.0.1:9', auto: false } })
  const written = [[2], 2, true, true, true, 1]
  assert.deepEqual(result, { refused: 'queue-full', out: [...written, ...written], other: 'duplicate-key', last: true })
})

test('ids are known at once: the ones the engine would have given', async () => {
  const result = await inWorker(async (db) => {
    const plain = db.collection('plain').insert({ n: 1 })
    const many = db.collection('plain').insertMany([{ n: 2 }, { id: 'mine' }, { n: 3 }])
    const mapped = db.collection('mapped').insert({ n: 1 })
    const tree = { log: [{ what: 'laid' }, { what: 'laid' }, { what: 'sold', n: -0, deep: { b: [1.5, 'ü'], a: null } }] }
    const imported = await db.importDocument(tree)
    const again = await db.importDocument(tree)
    await Promise.all([plain, many, mapped])
    const log = db.collection('log').list().map(({ id }) => id)
    return { ids: [plain.recordId, ...many.recordIds, mapped.recordId], there: many.recordIds.every((id) => db.collection('plain').get(id)?.id === id), log, imported: imported.collections.log, again: again.collections.log, count: db.collection('log').count() }
  }, { collections: { mapped: { ids: 'server' } } })
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  const [plain, first, mine, third, mapped] = result.ids
  for (const id of [plain, first, third]) assert.match(id, uuid)
  assert.equal(mine, 'mine')
  assert.match(mapped, /^optimistic_[0-9a-z]+_[0-9a-z]{8}$/)
  assert.ok(result.there)
  assert.deepEqual([result.imported.inserted, result.again.inserted, result.again.unchanged, result.count], [3, 0, 3, 3])
  assert.equal(new Set(result.log).size, 3)
})

test('the functions of the app run in the page: token, headers, fetch, clock, log', async () => {
  server.answer((asked) => answerPage({ asked }))
  const result = await page.evaluate(async (url) => {
    const calls = []
    const here = (what) => { calls.push(what) }
    const clock = Date.parse('2031-05-05T05:05:05.000Z')
    const db = await openDatabase({
      name: 'callbacks', worker: true,
      sync: { url, auto: false, getToken: async ({ refresh }) => { here(`token ${refresh}`); return 'secret' }, headers: async () => { here('headers'); return { 'x-farm': 'seven' } } },
      platform: { now: () => clock, fetch: async (address, init) => { here(`fetch ${new Headers(init.headers).get('x-farm')} ${init.signal instanceof AbortSignal}`); return fetch(address, init) } },
      logger: () => { if (!calls.includes('log')) here('log') },
    })
    const row = await db.collection('c').insert({ id: 'a' })
    await db.sync()
    const rev = db.collection('c').get('a')._rev
    db.pause()
    await db.wipe({ discardPending: true })
    return { calls: [...new Set(calls)].sort(), stamp: row._updatedAt, rev: rev > 0 }
  }, server.url)
  assert.deepEqual(result, { calls: ['fetch seven true', 'headers', 'log', 'token false'], stamp: '2031-05-05T05:05:05.000Z', rev: true })
})

test('a relative address is one of the page', async () => {
  const result = await inWorker(async (db) => {
    await db.collection('c').insert({ id: 'a' })
    return (await failure(db.sync())).code
  }, { sync: { url: '/nothing-here', auto: false } })
  // The static server answers 405: an address that is none would be 'offline'.
  assert.equal(result, 'protocol-unsupported')
})

test('closing while the app has not answered ends the call, its signal and the worker', async () => {
  const result = await page.evaluate(async (answer) => {
    const workers = []
    let heard
    const asked = new Promise((resolve) => { heard = resolve })
    const transport = { push: () => answer, pull: (_, { signal }) => { heard(signal); return new Promise(() => {}) } }
    const worker = () => { workers.push(new Worker('/dist/worker.js')); return workers.at(-1) }
    const { terminate } = Worker.prototype
    let ended = 0
    Worker.prototype.terminate = function () { ended++; return terminate.call(this) }
    const db = await openDatabase({ name: 'hanging', worker, sync: { transport, auto: false } })
    await db.collection('c').insert({ id: 'a' })
    const call = failure(db.sync())
    const open = db.status.getSnapshot().state !== 'closed'
    const signal = await asked
    const before = signal.aborted
    await db.close()
    const code = (await call).code
    Worker.prototype.terminate = terminate
    const again = await openDatabase({ name: 'hanging', worker: true })
    const kept = again.collection('c').count()
    await again.wipe({ discardPending: true })
    return { before, code, aborted: signal.aborted, ended, started: workers.length, kept, states: [open, db.status.getSnapshot().state] }
  }, JSON.parse(answerPage({})))
  assert.deepEqual(result, { before: false, code: 'closed', aborted: true, ended: 1, started: 1, kept: 1, states: [true, 'closed'] })
})

test('a worker that dies fails what waits, says so, and the database opens again with what was durable', async () => {
  const result = await page.evaluate(async () => {
    let worker
    let heard
    const asked = new Promise((resolve) => { heard = resolve })
    const transport = { push: () => null, pull: (_, { signal }) => { heard(signal); return new Promise(() => {}) } }
    const db = await openDatabase({ name: 'crash', worker: () => (worker = new Worker('/dist/worker.js')), sync: { transport, auto: false } })
    const c = db.collection('c')
    await c.insert({ id: 'durable' })
    const call = failure(db.sync())
    const signal = await asked
    const told = new Promise((resolve) => db.addEventListener('error', ({ detail }) => resolve(detail.code)))
    worker.terminate()
    const lost = c.insert({ id: 'lost' })
    const codes = [(await failure(lost)).code, await told, (await call).code, signal.aborted]
    const status = db.status.getSnapshot()
    const after = [(await failure(c.insert({ id: 'later' }))).code, (await failure(db.sync())).code, await lost.settled]
    // Whether the app has closed the dead one or not.
    const again = await openDatabase({ name: 'crash', worker: true })
    const kept = [again.collection('c').list().map(({ id }) => id), (await again.collection('c').insert({ id: 'again' })).id]
    await db.close()
    kept.push(again.status.getSnapshot().state !== 'closed', again.collection('c').count())
    await again.wipe({ discardPending: true })
    return { codes, status: [status.state, status.error.code], after, kept }
  })
  assert.deepEqual(result, {
    codes: ['engine-crashed', 'engine-crashed', 'engine-crashed', true], status: ['closed', 'engine-crashed'],
    after: ['closed', 'closed', { status: 'cancelled', mutationId: null }], kept: [['durable'], 'again', true, 2],
  })
})

test('a clock or a randomness of the app that fails stops nothing', async () => {
  const result = await page.evaluate(async () => {
    const broken = () => { throw new Error('mine') }
    const platforms = [{ now: broken, random: broken }, ...[NaN, Infinity, 1e300, undefined, '5', null].map((said) => ({ now: () => said, random: () => said })), ...[1, -1].map((said) => ({ random: () => said }))]
    const out = []
    for (const platform of platforms) {
      const began = Date.now()
      const db = await openDatabase({ name: `broken-${crypto.randomUUID()}`, worker: true, platform, collections: { named: { ids: 'server' } }, sync: { url: 'http://127.0.0.1:9', auto: false } })
      const c = db.collection('named')
      const rows = [await c.insert({ n: 1 }), ...await c.insertMany([{ n: 2 }, { n: 3 }]), await c.update(c.list()[0].id, { n: 4 })]
      await db.queue.discard(db.queue.list().at(-1).id)
      const soon = rows.every(({ _updatedAt }) => Date.parse(_updatedAt) >= began && Date.parse(_updatedAt) < began + 60_000)
      out.push([soon, rows.every(({ id }) => /^optimistic_[0-9a-z]+_[0-9a-z]{8}$/.test(id)), c.count(), db.status.getSnapshot().state === 'closed'])
      await db.wipe({ discardPending: true })
    }
    return out
  })
  assert.deepEqual(result, Array(9).fill([true, true, 2, false]))
})

test('a page that cannot go on ends its worker: nothing goes on that nobody sees', async () => {
  const result = await page.evaluate(async () => {
    const { terminate } = Worker.prototype
    const { decode } = TextDecoder.prototype
    let ended = 0
    Worker.prototype.terminate = function () { ended++; return terminate.call(this) }
    const transport = { push: () => new Promise(() => {}), pull: () => new Promise(() => {}) }
    const db = await openDatabase({ name: 'gives-up', worker: true, sync: { transport, auto: false } })
    await db.collection('c').insert({ id: 'a' })
    const call = failure(db.sync())
    TextDecoder.prototype.decode = () => { throw new Error('no') }
    const refused = failure(db.collection('c').update('a', { n: 1 }))
    TextDecoder.prototype.decode = decode
    const codes = [(await refused).code, ['closed', 'engine-crashed'].includes((await call).code)]
    const before = ended
    await db.close()
    Worker.prototype.terminate = terminate
    const again = await openDatabase({ name: 'gives-up', worker: true })
    const kept = again.collection('c').count()
    await again.wipe({ discardPending: true })
    return { codes, before, ended, kept }
  })
  assert.deepEqual(result, { codes: ['engine-crashed', true], before: 1, ended: 1, kept: 1 })
})

test('a policy that forbids it is named; a worker of the page\'s own works there', async () => {
  const strict = await site.browser.open(new URL('/policy', site.url).href)
  await strict.waitForFunction(() => window.ready)
  const result = await strict.evaluate(async () => {
    const refused = await openDatabase({ name: 'policy', worker: true }).then(() => null, ({ code, message, path }) => ({ code, message, path }))
    const wrong = await openDatabase({ name: 'policy', worker: () => new Worker('/dist/nothing.js') }).then(() => null, ({ code }) => code)
    const db = await openDatabase({ name: 'policy', worker: () => new Worker('/dist/worker.js', { type: 'module' }) })
    await db.collection('c').insert({ id: 'a' })
    const count = db.collection('c').count()
    await db.wipe({ discardPending: true })
    return { refused, wrong, count }
  })
  await strict.close()
  assert.deepEqual([result.refused.code, result.refused.path, result.wrong, result.count], ['unsupported-environment', '/worker', 'unsupported-environment', 1])
  assert.match(result.refused.message, /worker-src blob:/)
})

test('the slim entry takes the worker from the page', async () => {
  const result = await page.evaluate(async () => {
    const slim = await import('homing/slim')
    const wasm = '/dist/homing.wasm'
    const without = await failure(slim.openDatabase({ name: 'slim', wasm, worker: true }))
    const wrong = await failure(slim.openDatabase({ name: 'slim', wasm, worker: 'yes' }))
    const db = await slim.openDatabase({ name: 'slim', wasm, worker: () => new Worker('/dist/worker.js') })
    await db.collection('c').insert({ id: 'a' })
    const count = db.collection('c').count()
    await db.wipe({ discardPending: true })
    return { without: [without.code, /homing\/worker/.test(without.message)], wrong: [wrong.code, wrong.path], count }
  })
  assert.deepEqual(result, { without: ['unsupported-environment', true], wrong: ['invalid-record', '/worker'], count: 1 })
})

test('one worker for every opening of a name in a page; the other mode is another option', async () => {
  const result = await page.evaluate(async () => {
    let started = 0
    const worker = () => { started++; return new Worker('/dist/worker.js') }
    const [one, two] = await Promise.all([openDatabase({ name: 'shared', worker }), openDatabase({ name: 'shared', worker })])
    const differ = (await failure(openDatabase({ name: 'shared', worker: false }))).code
    const write = one.collection('c').insert({ id: 'a' })
    const seen = two.collection('c').get('a') === one.collection('c').get('a')
    await write
    await one.close()
    await two.collection('c').insert({ id: 'b' })
    await two.wipe({ discardPending: true })
    return { started, differ, seen }
  })
  assert.deepEqual(result, { started: 1, differ: 'options-differ', seen: true })
})

test('tabs in either mode see each other\'s writes; the network\'s coming and going reaches the worker', async () => {
  const other = await site.open()
  await page.evaluate(async () => {
    window.tab = await openDatabase({ name: 'tabs', worker: true, sync: { url: 'http://127.0.0.1:9', auto: false } })
    await tab.collection('c').insert({ id: 'first' })
  })
  const heard = page.evaluate(() => new Promise((resolve) => tab.collection('c').subscribe(({ source, added }) => { if (source === 'tab') resolve(added.map(({ id }) => id)) })))
  const seen = await other.evaluate(async () => {
    const db = await openDatabase({ name: 'tabs', worker: false, sync: { url: 'http://127.0.0.1:9', auto: false } })
    const seen = db.collection('c').list().map(({ id }) => id)
    await db.collection('c').insert({ id: 'second' })
    await db.close()
    return seen
  })
  assert.deepEqual(seen, ['first'])
  assert.deepEqual(await heard, ['second'])
  const offline = page.evaluate(() => new Promise((resolve) => tab.status.subscribe(() => { if (!tab.status.getSnapshot().online) resolve(tab.status.getSnapshot().state) })))
  await site.browser.context.setOffline(true)
  assert.equal(await offline, 'offline')
  await site.browser.context.setOffline(false)
  await page.evaluate(() => tab.wipe({ discardPending: true }))
  await other.close()
})
