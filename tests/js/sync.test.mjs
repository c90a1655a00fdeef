// What the shell makes of a server's answers: verdicts, states, events, lists and decisions. The answers are scripted; how the
// reference server decides is the business of tests/e2e.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { answerPage, startFakeServer } from '../support/fake-server.mjs'
import { openSite } from './page.mjs'

let server
let site
let page

before(async () => {
  server = await startFakeServer()
  site = await openSite()
  page = await site.open()
})
after(async () => {
  await site.close()
  await server.close()
})

/** Runs `steps(db)` on a new database that syncs with the scripted server, only when asked to. */
function withSync(steps, arg) {
  return page.evaluate(async ({ source, url, arg }) => {
    const steps = new Function(`return (${source})`)()
    const tokens = []
    const db = await openDatabase({ name: `sync-${crypto.randomUUID()}`, sync: { url, auto: false, getToken: async (why) => (tokens.push(why.refresh), 'secret') } })
    try {
      return await steps(db, arg, tokens)
    } finally {
      await db.wipe({ discardPending: true })
    }
  }, { source: steps.toString(), url: server.url, arg })
}

/** Answers whose results are `verdict(mutation)`; what was applied comes back as a change. */
function answerWith(verdict) {
  let rev = 100
  return (asked) => {
    const results = asked.mutations.map((mutation) => ({ id: mutation.id, rev: ++rev, ...verdict(mutation) }))
    const applied = asked.mutations.flatMap(({ collection, record, updatedAt }, at) => (results[at].status === 'applied' ? [{ collection, records: [{ ...record, _updatedAt: updatedAt, _rev: results[at].rev }] }] : []))
    return JSON.stringify({ ...JSON.parse(answerPage({ asked })), rev, cursor: `c1.${rev}..e1`, results, changes: applied })
  }
}

test('verdicts reach their writes, singly and by the thousand', async () => {
  server.answer(answerWith(() => ({ status: 'applied' })))
  const result = await withSync(async (db, _, tokens) => {
    const c = db.collection('c')
    const one = c.insert({ id: 'one', n: 1 })
    const many = c.insertMany(Array.from({ length: 1200 }, (_, n) => ({ id: `r${n}` })))
    const both = db.batch((tx) => { tx.collection('c').insert({ id: 'x' }); tx.singleton('s').set({ a: 1 }) })
    const states = [c.state('one')]
    const heard = []
    db.addEventListener('sync', ({ detail }) => heard.push(detail.pushed), { once: true })
    await one
    const report = await db.sync()
    while (db.status.getSnapshot().pending > 0) await db.sync()
    states.push(c.state('one'))
    return { one: await one.settled, many: (await many.settled).map(({ status }) => status), batch: (await both.settled).map(({ status }) => status), states, heard: heard.length, report: Object.keys(report), rev: c.get('one')._rev, confirmed: c.confirmed('one') !== undefined, status: db.status.getSnapshot(), tokens }
  })
  assert.equal(result.one.status, 'applied')
  assert.equal(result.one.rev, result.rev)
  assert.deepEqual([result.many.length, new Set(result.many)], [1200, new Set(['applied'])])
  assert.deepEqual(result.batch, ['applied', 'applied'])
  assert.deepEqual(result.states, ['queued', 'synced'])
  assert.deepEqual([result.heard, result.confirmed, result.status.pending, result.status.everSynced, result.status.state], [1, true, 0, true, 'idle'])
  assert.ok(result.report.includes('pushed') && result.tokens.length > 0)
})

test('a refused write becomes a dead letter: listed, told, retried, discarded', async () => {
  server.answer(answerWith(({ record }) => (record.bad ? { status: 'rejected', code: 'validation', message: 'price is missing', path: '/price' } : { status: 'applied' })))
  const result = await withSync(async (db) => {
    const c = db.collection('c')
    const events = []
    let changes = 0
    db.addEventListener('deadletter', ({ detail }) => events.push(detail.id))
    db.deadLetters.subscribe(() => changes++)
    const bad = c.insert({ id: 'a', bad: true })
    const other = c.insert({ id: 'b', bad: true })
    await Promise.all([bad, other])
    await db.sync()
    const verdict = await bad.settled
    const letters = db.deadLetters.list()
    const state = c.state('a')
    const stable = db.deadLetters.getSnapshot() === letters
    const retry = db.deadLetters.retry(letters[0].id, { id: 'a', bad: false })
    await retry
    await db.deadLetters.discard(letters[1].id)
    await db.sync()
    return {
      verdict: [verdict.status, verdict.error instanceof HomingError, verdict.error.code, verdict.error.path], letters: letters.map(({ recordId, message, path }) => [recordId, message, path]), events: events.length, changes: changes > 0, state, stable,
      retried: (await retry.settled).status, left: db.deadLetters.list().length, a: c.get('a').bad, b: c.get('b') === undefined, wrong: (await failure(db.deadLetters.discard('nope'))).homing,
    }
  })
  assert.deepEqual(result, {
    verdict: ['rejected', true, 'rejected', '/price'], letters: [['a', 'price is missing', '/price'], ['b', 'price is missing', '/price']], events: 2, changes: true, state: 'failed', stable: true,
    retried: 'applied', left: 0, a: false, b: true, wrong: true,
  })
})

test('a cycle that fails rejects with its code; the queue says why it waits', async () => {
  server.answer(() => ({ status: 401, body: '{"error":{"code":"auth-required","message":"who are you","phase":"push","requestId":"r1","retryable":false}}' }))
  const result = await withSync(async (db, _, tokens) => {
    const c = db.collection('c')
    await c.insert({ id: 'a' })
    const told = new Promise((resolve) => db.addEventListener('autherror', ({ detail }) => resolve([detail instanceof HomingError, detail.code])))
    const refused = await failure(db.sync())
    db.pause()
    const paused = [(await failure(db.sync())).code, db.status.getSnapshot().state, db.queue.explain()[0].reason]
    db.resume()
    const queue = db.queue.list({ collection: 'c' })
    const none = db.queue.list({ recordId: 'b' }).length
    await db.queue.discard(queue[0].id)
    return { refused: [refused.homing, refused.code], told: await told, paused, queue: queue.map(({ op, recordId, state }) => [op, recordId, state]), none, left: db.queue.list().length, gone: c.get('a') === undefined, refreshed: tokens.includes(true), aborted: (await failure(db.sync({ signal: AbortSignal.abort() }))).code }
  })
  assert.deepEqual(result, { refused: [true, 'auth-required'], told: [true, 'auth-required'], paused: ['paused', 'paused', 'Sync is paused.'], queue: [['create', 'a', 'queued']], none: 0, left: 0, gone: true, refreshed: true, aborted: 'aborted' })
})

test('your own transport carries the protocol', async () => {
  const result = await page.evaluate(async (answer) => {
    const asked = []
    const reply = (request) => ({ ...answer, results: (request.mutations ?? []).map(({ id }) => ({ id, status: 'applied', rev: 7 })) })
    const transport = {
      async push(request, { signal, token }) { asked.push(['push', request.mutations.length, token, signal instanceof AbortSignal]); return reply(request) },
      async pull(request) { asked.push(['pull', request.protocol]); return reply(request) },
    }
    const db = await openDatabase({ name: 'transport', sync: { transport, auto: false, getToken: async () => 'secret' } })
    const write = db.collection('c').insert({ id: 'a' })
    await write
    await db.sync()
    const status = (await write.settled).status
    transport.push = async () => { throw new Error('broken') }
    await db.collection('c').insert({ id: 'b' })
    const broken = await failure(db.sync())
    await db.wipe({ discardPending: true })
    return { asked: asked.filter(([kind]) => kind === 'push'), status, broken: [broken.homing, broken.retryable] }
  }, JSON.parse(answerPage({})))
  assert.deepEqual(result, { asked: [['push', 1, 'secret', true]], status: 'applied', broken: [true, true] })
})

test('a large body leaves as a blob and arrives whole, also with a fresh token; a fetch of the app is given text', async () => {
  const before = server.requests.length
  let large = 0
  server.answer((asked) => (asked.mutations.length === 400 && large++ % 2 === 0 ? { status: 401, body: '{"error":{"code":"unauthorized","message":"old"}}' } : answerPage({ asked })))
  const seen = await page.evaluate(async ({ url, worker }) => {
    const kinds = []
    const original = globalThis.fetch
    const records = Array.from({ length: 400 }, (_, n) => ({ id: `r${n}`, note: 'ä€🐔'.repeat(50) }))
    const kind = ({ body }) => (typeof body === 'string' ? 'text' : body?.constructor.name)
    const run = async (platform) => {
      const db = await openDatabase({ name: `body-${crypto.randomUUID()}`, platform, sync: { url, auto: false, getToken: async ({ refresh }) => (refresh ? 'fresh' : 'stale') } })
      await db.collection('c').insert({ id: 'small' })
      await db.sync()
      await db.collection('c').insertMany(records)
      await db.sync()
      const pending = db.status.getSnapshot().pending
      await db.wipe({ discardPending: true })
      return pending
    }
    globalThis.fetch = (address, init) => (kinds.push(kind(init)), original(address, init))
    const own = await run(undefined)
    globalThis.fetch = original
    // In a worker it is the worker's fetch.
    const browsers = worker ? null : kinds.splice(0)
    kinds.length = 0
    const given = await run({ fetch: (address, init) => (kinds.push(kind(init)), original(address, init)) })
    return { pending: [own, given], browsers, apps: [...new Set(kinds)] }
  }, { url: server.url, worker: process.env['HOMING_WORKER'] === '1' })
  assert.deepEqual(seen.pending, [0, 0])
  if (seen.browsers !== null) assert.ok(seen.browsers.includes('Blob') && seen.browsers.includes('text'), seen.browsers)
  assert.deepEqual(seen.apps.filter((kind) => kind !== undefined), ['text'])
  const bodies = server.requests.slice(before).filter(({ mutations }) => mutations.length === 400)
  assert.equal(bodies.length, 4)
  for (const { mutations } of bodies) assert.ok(mutations.every(({ record }, n) => record.id === `r${n}` && record.note === 'ä€🐔'.repeat(50)))
})
