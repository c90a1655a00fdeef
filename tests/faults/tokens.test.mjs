// Tokens and HTTP in a real browser: nothing of a token outlives the page's memory (invariant 8), and answers that no server of
// ours gives (F6–F8): a captive portal, a connection that hangs, 429 with every kind of Retry-After, bodies that go compressed.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { answerPage } from '../support/fake-server.mjs'
import { openSite } from '../js/page.mjs'

let site
let page
let server
/** How the next requests are answered: `(asked) => { status, headers, body } | null`; null hangs. */
let work
let seen = []

before(async () => {
  site = await openSite()
  page = await site.open()
  server = createServer((request, response) => {
    const cors = { 'access-control-allow-origin': '*', 'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '*', 'access-control-allow-methods': 'GET, POST', 'access-control-expose-headers': 'retry-after, date, accept-encoding' }
    if (request.method === 'OPTIONS') return response.writeHead(204, cors).end()
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      const raw = Buffer.concat(chunks)
      const encoding = request.headers['content-encoding'] ?? null
      const body = raw.length === 0 ? {} : JSON.parse(encoding === 'gzip' ? gunzipSync(raw) : raw)
      const asked = { method: request.method, token: request.headers.authorization ?? null, encoding, sent: raw.length, mutations: body.mutations ?? [], requestId: body.requestId ?? '' }
      seen.push(asked)
      const answer = work(asked)
      if (answer === null) return
      response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...cors, ...answer.headers }).end(answer.body ?? answerPage({ asked }))
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
})
after(async () => {
  server.closeAllConnections()
  await site.close()
  await new Promise((resolve) => server.close(resolve))
})

/** Runs `steps(db, helpers)` in the page; `arg` goes along. */
function withDatabase(steps, arg = {}) {
  seen = []
  const url = `http://127.0.0.1:${server.address().port}`
  return page.evaluate(async ({ source, url, arg }) => {
    const steps = new Function(`return (${source})`)()
    const name = `tokens-${crypto.randomUUID()}`
    const logs = []
    const asked = []
    const said = []
    const channel = new BroadcastChannel(`homing:${JSON.stringify([name, ''])}`)
    channel.onmessage = ({ data }) => said.push(data)
    const tokens = [...arg.tokens ?? ['t']]
    const getToken = async ({ refresh }) => {
      asked.push(refresh)
      if (arg.slow) await new Promise((resolve) => setTimeout(resolve, arg.slow))
      if (refresh) tokens.shift()
      return tokens[0] ?? null
    }
    const db = await openDatabase({ name, logger: (line) => logs.push(line), sync: { url, auto: false, timeout: arg.timeout, getToken } })
    try {
      return await steps(db, { name, logs, asked, said, arg })
    } finally {
      channel.close()
      await db.wipe({ discardPending: true })
    }
  }, { source: steps.toString(), url, arg })
}

test('invariant 8: a token is in no database, log, error, event, status or message to other tabs', async () => {
  const [old, fresh] = ['eyJhbGciOi.OLDSECRETOLD.sig-1', 'eyJhbGciOi.NEWSECRETNEW.sig-2']
  let refusals = 0
  work = (asked) => {
    // A server that says back what it was told: in errors, in refusals, in headers.
    const echo = asked.token?.replace('Bearer ', '') ?? ''
    if (echo === old) return { status: 401, headers: { 'retry-after': echo }, body: JSON.stringify({ error: { code: `bad-${echo}`, message: `no such token ${echo}`, requestId: echo } }) }
    if (asked.method === 'POST' && refusals++ === 0) return { body: JSON.stringify({ ...JSON.parse(answerPage({ asked: { ...asked, mutations: [] } })), results: asked.mutations.map(({ id }) => ({ id, status: 'rejected', code: 'validation', message: `refused for ${echo}`, path: `/${echo}` })) }) }
    return asked.method === 'POST' ? { status: 403, body: JSON.stringify({ error: { code: 'forbidden', message: `not with ${echo}`, requestId: 'r' } }) } : {}
  }
  const result = await withDatabase(async (db, { name, logs, asked, said }) => {
    const heard = []
    for (const type of ['autherror', 'error', 'deadletter', 'sync']) db.addEventListener(type, ({ detail }) => heard.push(detail))
    const c = db.collection('c')
    const first = c.insert({ id: 'a', n: 1 })
    await first
    const reports = [await db.sync()]
    const verdict = await first.settled
    await c.insert({ id: 'b', n: 1 })
    const refused = await db.sync().catch((error) => error)
    // Everything the page has stored.
    const dump = await new Promise((resolve, reject) => {
      const open = indexedDB.open(`homing:${name}`)
      open.onerror = () => reject(open.error)
      open.onsuccess = async () => {
        const all = {}
        for (const store of open.result.objectStoreNames) {
          all[store] = await new Promise((done) => { const get = open.result.transaction(store).objectStore(store).getAll(); get.onsuccess = () => done(get.result) })
        }
        open.result.close()
        resolve(all)
      }
    })
    const text = (value) => JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) || v instanceof ArrayBuffer ? new TextDecoder().decode(v) : v instanceof Error ? { ...v, message: v.message, stack: v.stack } : v))
    const letters = db.deadLetters.list()
    return {
      stored: text(dump), asked, state: db.status.getSnapshot().state, letters: letters.length, code: refused.code, requestId: refused.requestId, phase: refused.phase, serverCode: refused.serverCode, lines: logs,
      everything: text([logs, heard, said, refused, verdict, reports, letters, db.status.getSnapshot(), db.metrics(), db.metrics().toPrometheus(), db.queue.list(), db.queue.explain(), Object.entries(localStorage), Object.entries(sessionStorage)]),
    }
  }, { tokens: [old, fresh] })
  assert.ok(seen.some(({ token }) => token === `Bearer ${old}`) && seen.some(({ token }) => token === `Bearer ${fresh}`), 'both were sent')
  assert.ok(result.stored.includes('refused for [token]'), 'the dump has the records and the dead letter')
  assert.deepEqual(result.asked, [false, true], 'one token, one refresh')
  assert.deepEqual([result.state, result.letters, result.code, result.phase], ['forbidden', 1, 'forbidden', 'push'])
  assert.ok(result.requestId && result.lines.length > 5)
  assert.ok(result.lines.filter(({ message }) => ['request', 'sync'].includes(message)).every(({ phase, requestId }) => phase && requestId), 'phase and request id on every line about a request')
  for (const secret of ['SECRET', 'sig-1', 'sig-2']) {
    assert.ok(!result.stored.includes(secret), `IndexedDB: ${secret}`)
    assert.ok(!result.everything.includes(secret), `logs, errors, events, status: ${secret}`)
  }
})

test('F8: twenty calls at once and a slow getToken are one question', async () => {
  work = (asked) => (asked.token === 'Bearer fresh' ? {} : { status: 401, body: '{}' })
  const result = await withDatabase(async (db, { asked }) => {
    const write = db.collection('c').insert({ id: 'a' })
    await write
    const reports = await Promise.all(Array.from({ length: 20 }, () => db.sync()))
    return { asked, cycles: new Set(reports.map(({ requestId }) => requestId)).size, verdict: (await write.settled).status }
  }, { tokens: ['stale', 'fresh'], slow: 50 })
  assert.deepEqual(result, { asked: [false, true], cycles: 1, verdict: 'applied' })
})

test('F6: a captive portal and a connection that hangs keep the queue; then it drains', async () => {
  const ways = [() => ({ headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Free Wi-Fi</title>' }), () => null, () => ({ status: 503, body: 'upstream' }), () => ({ body: '{}' })]
  work = () => ways[0]()
  const codes = []
  for (const way of ways) {
    work = way
    codes.push(await withDatabase(async (db) => {
      const write = db.collection('c').insert({ id: 'a' })
      await write
      const { code, retryable, retryAt } = await db.sync().catch((error) => error)
      return [code, retryable, retryAt !== null, db.status.getSnapshot().state, db.queue.list().length]
    }, { timeout: 300 }))
  }
  assert.deepEqual(codes, ['bad-response', 'timeout', 'server-error', 'bad-response'].map((code) => [code, true, true, 'backoff', 1]))
  let down = true
  work = () => (down ? ways[0]() : {})
  const verdict = withDatabase(async (db) => {
    const write = db.collection('c').insert({ id: 'a' })
    await write
    while (db.status.getSnapshot().pending > 0) await db.sync().catch(() => {})
    return (await write.settled).status
  })
  down = false
  assert.equal(await verdict, 'applied')
})

test('F7: Retry-After in seconds, as a date, as garbage, and in the body', async () => {
  const soon = () => new Date(Date.now() + 90_000).toUTCString()
  const cases = [[{ 'retry-after': '120' }, '{}', 120], [{ 'retry-after': soon() }, '{}', 90], [{ 'retry-after': 'whenever' }, '{}', 0], [{}, '{"error":{"code":"rate-limited","message":"slow down","retryAfterMs":45000}}', 45], [{ 'retry-after': '-7' }, '', 0]]
  for (const [headers, body, seconds] of cases) {
    work = () => ({ status: 429, headers, body })
    const [code, wait, second] = await withDatabase(async (db) => {
      const { code, retryAt } = await db.sync().catch((error) => error)
      const again = await db.sync().catch((error) => error)
      return [code, (Date.parse(retryAt) - Date.now()) / 1000, again.code]
    })
    assert.deepEqual([code, second], ['rate-limited', 'rate-limited'])
    assert.ok(seconds === 0 ? wait <= 2 : wait >= seconds - 3 && wait <= seconds + 2, `${JSON.stringify(headers)}: ${wait} s`)
    assert.equal(seen.length, seconds === 0 ? 2 : 1, 'a wait that the server asked for is kept by sync(), too')
  }
})

test('bodies over 4 KiB go compressed where the server says that it can, and plain where it changes its mind', async () => {
  const steps = async (db) => {
    await db.sync()
    const many = db.collection('c').insertMany(Array.from({ length: 200 }, (_, n) => ({ id: `r${n}`, text: 'the same words again and again' })))
    await many
    const { bytesSent } = await db.sync()
    return [bytesSent, (await many.settled).every(({ status }) => status === 'applied')]
  }
  const pushes = () => seen.filter(({ method }) => method === 'POST').map(({ encoding }) => encoding)
  work = () => ({})
  const [plain] = await withDatabase(steps)
  assert.deepEqual(pushes(), [null], 'not asked for: not compressed')
  work = () => ({ headers: { 'accept-encoding': 'br, gzip' } })
  const [small, applied] = await withDatabase(steps)
  assert.deepEqual([pushes(), applied], [['gzip'], true])
  assert.ok(small * 5 < plain, `${small} of ${plain} bytes`)
  work = (asked) => (asked.encoding === 'gzip' ? { status: 415, body: '{}' } : { headers: { 'accept-encoding': 'gzip' } })
  const [, still] = await withDatabase(steps)
  assert.deepEqual([pushes(), still], [['gzip', null], true])
})

test('F22, F26: aborts at any time, and every call from every callback, leave nothing hanging', async () => {
  work = () => ({})
  const result = await withDatabase(async (db) => {
    const aborted = []
    for (let n = 0; n < 30; n++) {
      const controller = new AbortController()
      const write = db.collection('c').insert({ id: `a${n}` })
      const call = db.sync({ signal: controller.signal }).then(() => 'done', ({ code }) => code)
      for (let turn = 0; turn < n; turn++) await null
      if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, n / 3))
      controller.abort()
      aborted.push(await call)
      await write
    }
    const inside = []
    db.addEventListener('sync', () => { inside.push(db.sync().then(() => 'done', ({ code }) => code), db.collection('c').insert({ id: crypto.randomUUID() })); db.metrics(); db.pause(); db.resume(); db.queue.explain() }, { once: true })
    db.status.subscribe(() => { db.metrics().toPrometheus(); db.collection('c').list(); db.queue.list() })
    await db.sync()
    await Promise.all(inside)
    while (db.status.getSnapshot().pending > 0) await db.sync().catch(() => {})
    return { codes: [...new Set(aborted)].sort(), rows: db.collection('c').count(), illegal: db.metrics().illegalEvents }
  })
  assert.deepEqual(result, { codes: result.codes.filter((code) => ['aborted', 'done'].includes(code)), rows: 31, illegal: 0 })
})
