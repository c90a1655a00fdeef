// The queue as an app sees it: server ids, keys, dependencies, dead letters. The answers are scripted; how queue and server
// play together is the business of tests/queue.rs.

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

/** Runs `steps(open, url)` in the page; `open()` opens one database, again and again the same. */
function inPage(steps) {
  return page.evaluate(async ({ source, url }) => {
    const steps = new Function(`return (${source})`)()
    const name = `queue-${crypto.randomUUID()}`
    const collections = { orders: { ids: 'server' }, lines: { ids: 'server', references: { orderId: 'orders' } } }
    return await steps(() => openDatabase({ name, collections, sync: { url, auto: false, getToken: async () => 'secret' } }))
  }, { source: steps.toString(), url: server.url })
}

/** Answers that give every create of `optimistic_…` the id `server-<n>`, and translate what names it. */
function namingServer({ refuse = () => null } = {}) {
  const given = new Map()
  let rev = 100
  const now = (value) => {
    if (typeof value === 'string') return given.get(value) ?? value
    if (Array.isArray(value)) return value.map(now)
    return value !== null && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, now(member)])) : value
  }
  return (asked) => {
    const refused = new Set()
    const changes = []
    const results = asked.mutations.map(({ id, op, collection, recordId, record, updatedAt, dependsOn = [] }) => {
      const code = refuse(record)
      if (code !== null) {
        refused.add(id)
        return { id, status: 'rejected', code, message: `refused: ${code}` }
      }
      if (dependsOn.some((one) => refused.has(one))) return { id, status: 'blocked', code: 'blocked' }
      if (op === 'create' && recordId.startsWith('optimistic_')) given.set(recordId, `server-${given.size + 1}`)
      const row = { ...now(record), id: now(recordId), _updatedAt: updatedAt, _rev: ++rev }
      changes.push({ collection, records: [row] })
      return { id, status: 'applied', rev, record: row, recordId: now(recordId) }
    })
    return JSON.stringify({ ...JSON.parse(answerPage({})), requestId: asked.requestId, rev, cursor: `c1.${rev}..e1`, results, changes })
  }
}

test('the server names records: same place, same list key, old ids stay valid, one event', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    let db = await open()
    let orders = db.collection('orders')
    const lines = db.collection('lines')
    const remapped = []
    const changes = []
    db.addEventListener('idremapped', ({ detail }) => remapped.push(detail))
    const first = orders.insert({ n: 1 })
    const old = first.recordId
    let inBatch
    await db.batch((tx) => { inBatch = tx.collection('orders').insert({ n: 2, before: old }).recordId })
    await lines.insert({ orderId: old, all: [old, `${old}x`] })
    const before = orders.list().map(({ n }) => n)
    const followed = []
    orders.record(old).subscribe((row) => followed.push(row?.id))
    orders.subscribe(({ source, added, removed, updated }) => changes.push([source, added.length, updated.length, removed.length]))
    await db.sync()
    await new Promise((resolve) => setTimeout(resolve))
    const row = orders.get(old)
    const line = lines.list()[0]
    const out = {
      shape: /^optimistic_[0-9a-z]{8,9}_[0-9a-z]{8}$/.test(old) && /^optimistic_/.test(inBatch), settled: (await first.settled).status, before,
      after: orders.list().map(({ id, n }) => [id, n]), named: orders.list()[1].before === row.id, line: [line.orderId === row.id, line.all[0] === row.id, line.all[1] === `${old}x`],
      key: [orders.keyOf(row.id) === old, orders.keyOf(old) === old], state: orders.state(old), confirmed: orders.confirmed(old).id === row.id,
      remapped: remapped.map(({ collection, from, to }) => [collection, from.startsWith('optimistic_'), to]), told: remapped[0].from === old,
      remap: changes.find(([source]) => source === 'remap'), followed: followed.at(-1) === row.id,
    }
    await orders.update(old, { n: 10 })
    await db.close()
    db = await open()
    orders = db.collection('orders')
    orders.list()
    out.reloaded = [orders.get(old).n, orders.get(old).id === row.id, orders.keyOf(row.id) === old, orders.count()]
    await db.wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, {
    shape: true, settled: 'applied', before: [1, 2], after: [['server-1', 1], ['server-2', 2]], named: true, line: [true, true, true],
    key: [true, true], state: 'synced', confirmed: true, remapped: [['orders', true, 'server-1'], ['orders', true, 'server-2'], ['lines', true, 'server-3']], told: true,
    remap: ['remap', 2, 0, 2], followed: true, reloaded: [10, true, true, 2],
  })
})

test('what is imported under old ids is counted as what it is now', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    const db = await open()
    const order = db.collection('orders').insert({ n: 1 }).recordId
    await db.collection('lines').insertMany([{ id: 'l1', orderId: order }, { id: 'l2', orderId: order, tags: [{ of: order }] }])
    await db.sync()
    const now = db.collection('orders').get(order).id
    const tree = () => ({ orders: [{ id: order, n: 1 }, { id: now, n: 1 }], lines: [{ id: 'l1', orderId: order }, { id: 'l2', orderId: order, tags: [{ of: order }] }, { orderId: order }] })
    const reports = [(await db.importDocument(tree())).collections, (await db.importDocument(tree())).collections]
    const out = { changed: now !== order, reports, orders: db.collection('orders').count(), lines: db.collection('lines').count(), archived: db.conflicts.list().length }
    await db.wipe({ discardPending: true })
    return out
  })
  const orders = { rows: 2, inserted: 1, unchanged: 1, archived: 0, duplicateIds: 1 }
  const lines = { rows: 3, inserted: 1, unchanged: 2, archived: 0, duplicateIds: 0 }
  const again = { inserted: 0, archived: 0 }
  assert.deepEqual(result, {
    changed: true, orders: 2, lines: 3, archived: 0,
    reports: [{ orders, lines }, { orders: { ...orders, ...again, unchanged: 2 }, lines: { ...lines, ...again, unchanged: 3 } }],
  })
})

test('old ids stay valid where nobody saw the records change them: read later, or deleted while the server named them', async () => {
  server.answer(namingServer())
  const result = await page.evaluate(async (url) => {
    const options = { name: `named-${crypto.randomUUID()}`, collections: { orders: { ids: 'server', lazy: true } } }
    let db = await openDatabase({ ...options, sync: { url, auto: false } })
    let orders = db.collection('orders')
    await orders.ready
    const [old, gone] = [orders.insert({ n: 1 }).recordId, orders.insert({ n: 2 }).recordId]
    await db.sync()
    const [now, then] = [old, gone].map((id) => orders.get(id).id)
    await orders.delete(gone)
    await db.sync()
    await db.close()
    db = await openDatabase({ ...options, sync: { url, auto: false } })
    orders = db.collection('orders')
    await orders.ready
    const look = () => [orders.get(old)?.id === now, orders.keyOf(now) === old, orders.keyOf(old) === old, orders.state(old)]
    const updated = orders.update(old, { n: 10 })
    const lazy = [now !== old, look(), orders.get(now).n, updated.record?.n, (await updated).id === now, look(), orders.keyOf(then) === gone, (await orders.undelete(gone)).id === then]
    await db.wipe({ discardPending: true })
    // The answer comes when the page has deleted the record, and has brought back another one.
    let asked
    let answer
    const isAsked = new Promise((resolve) => { asked = resolve })
    const pushed = new Promise((resolve) => { answer = resolve })
    const post = async (request) => (await fetch(url, { method: 'POST', body: JSON.stringify(request) })).json()
    const transport = { push: (request) => { asked(); return pushed.then(() => post(request)) }, pull: post }
    db = await openDatabase({ ...options, name: `${options.name}-2`, collections: { orders: { ids: 'server' } }, sync: { transport, auto: false } })
    orders = db.collection('orders')
    const ids = [1, 2].map((n) => orders.insert({ n }).recordId)
    const told = []
    db.addEventListener('idremapped', ({ detail }) => told.push(detail.to))
    const cycle = db.sync()
    await isAsked
    await Promise.all(ids.map((id) => orders.delete(id)))
    const back = orders.undelete(ids[1])
    answer()
    await cycle
    await back
    const server = told.slice(0, 2)
    const deleted = [told.length, orders.get(ids[0]) ?? null, orders.keyOf(server[0]) === ids[0], orders.get(ids[1])?.id === server[1], orders.list().length, orders.list({ includeDeleted: true }).map(({ id }) => server.indexOf(id)).sort()]
    const undone = orders.undelete(ids[0])
    deleted.push(undone.recordId === server[0], undone.record?.id === server[0], (await undone).id === server[0], orders.count())
    await db.wipe({ discardPending: true })
    return { lazy, deleted }
  }, server.url)
  assert.deepEqual(result, {
    lazy: [true, [true, true, true, 'queued'], 10, 10, true, [true, true, true, 'queued'], true, true],
    deleted: [2, null, true, true, 1, [0, 1], true, true, true, 2],
  })
})

test('inside a batch the old id and the new one are one record', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    const db = await open()
    const orders = db.collection('orders')
    const old = orders.insert({ n: 2 }).recordId
    await db.sync()
    const now = orders.get(old).id
    const add = (row) => ({ n: row.n + 1 })
    const inside = await db.batch((tx) => {
      const o = tx.collection('orders')
      const shown = () => o.list().map(({ id, n }) => [id === now, n])
      o.update(old, add)
      const seen = [shown(), o.get(now).n]
      o.update(now, add)
      seen.push(shown(), o.get(old).n)
      o.delete(old)
      seen.push(shown(), o.get(now) === undefined)
      o.undelete(now)
      o.put({ id: old, n: 10 })
      o.update(now, add)
      seen.push(shown())
      return seen
    })
    const out = { renamed: now !== old, inside, rows: orders.list().map(({ id, n }) => [id === now, n]) }
    await db.wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, { renamed: true, inside: [[[true, 3]], 3, [[true, 4]], 4, [], true, [[true, 11]]], rows: [[true, 11]] })
})

test('an update with a function that hands back the whole row works under an old id, too', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    const db = await open()
    const orders = db.collection('orders')
    const old = orders.insert({ n: 1 }).recordId
    await db.sync()
    const whole = (row) => ({ ...row, n: row.n + 1 })
    await orders.update(old, whole)
    await orders.update(old, { id: old, n: 3 })
    await db.batch((tx) => tx.collection('orders').update(old, whole))
    const other = await orders.update(old, { id: 'another', n: 9 }).catch(({ code, path }) => [code, path])
    const out = [orders.get(old).id !== old, orders.get(old).n, other]
    await db.wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, [true, 4, ['invalid-id', '/id']])
})

test('a new record that names an old id is shown with the one that the server gave', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    const db = await open()
    const notes = db.collection('notes')
    notes.list()
    const old = db.collection('orders').insert({ n: 1 }).recordId
    await db.sync()
    const now = db.collection('orders').list()[0].id
    const one = notes.insert({ id: 'one', orderId: old })
    const many = notes.insertMany([{ id: old, n: 1 }, { id: 'two', orderId: old }])
    const shown = () => notes.list().map(({ id, orderId }) => [id, orderId])
    const out = { now, one: one.record.orderId, ids: many.recordIds, atOnce: shown(), awaited: (await many).map(({ id, orderId }) => [id, orderId]), later: shown() }
    await db.wipe({ discardPending: true })
    return out
  })
  const rows = [['one', 'server-1'], ['server-1', undefined], ['two', 'server-1']]
  const { one, atOnce, ...durable } = result
  assert.deepEqual(durable, { now: 'server-1', ids: ['server-1', 'two'], awaited: rows.slice(1), later: rows })
  // With the engine in a worker, the page shows what it was given until the worker has planned it.
  if (process.env['HOMING_WORKER'] !== '1') assert.deepEqual({ one, atOnce }, { one: 'server-1', atOnce: rows })
})

test('a refused parent: children blocked and visible, retried in order, exported, discarded with them', async () => {
  server.answer(namingServer({ refuse: (record) => (record.n > 100 ? 'validation' : null) }))
  const result = await inPage(async (open) => {
    const db = await open()
    const [orders, lines] = [db.collection('orders'), db.collection('lines')]
    const stalled = []
    db.addEventListener('stalled', ({ detail }) => stalled.push(detail))
    const parent = orders.insert({ n: 1000 })
    const child = lines.insert({ orderId: parent.recordId })
    const free = lines.insert({ orderId: 'x' })
    await Promise.all([parent, child, free])
    await db.sync()
    const [letter] = db.deadLetters.list()
    const [waiting] = db.queue.list()
    const [why] = db.queue.explain()
    const status = db.status.getSnapshot()
    const file = JSON.parse(await (await db.deadLetters.export()).text())
    await new Promise((resolve) => setTimeout(resolve))
    const out = {
      states: [orders.state(parent.recordId), lines.state(child.recordId), lines.state(free.recordId)], blocked: [status.pending, status.blocked, waiting.state],
      dependents: letter.dependents[0] === waiting.id && letter.dependents.length === 1, why: why.waitingFor === letter.id, stalled: stalled.length === 1 && stalled[0].mutationId === waiting.id,
      file: [file.deadLetters[0].code, file.deadLetters[0].record.n], patch: db.queue.patch(letter.id).filter(({ path }) => path !== '/id'),
    }
    const retry = db.deadLetters.retry(letter.id, { n: 7 })
    await retry
    await db.sync()
    out.gone = db.queue.patch(letter.id) === undefined
    out.retried = [(await retry.settled).status, (await child.settled).status, db.queue.list().length, lines.get(child.recordId).orderId === orders.get(parent.recordId).id]
    const again = orders.insert({ n: 2000 })
    const lost = lines.insert({ orderId: again.recordId })
    await lost
    await db.sync()
    await db.deadLetters.discard(db.deadLetters.list()[0].id, { cascade: true })
    await orders.update(parent.recordId, { n: 3000 })
    await db.sync()
    out.edited = db.queue.patch(db.deadLetters.list()[0].id)
    out.discarded = [(await again.settled).status, (await lost.settled).status, orders.get(again.recordId) === undefined, lines.get(lost.recordId) === undefined, db.status.getSnapshot().pending]
    await db.wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, {
    states: ['failed', 'blocked', 'synced'], blocked: [1, 1, 'blocked'], dependents: true, why: true, stalled: true, file: ['validation', 1000], patch: [{ op: 'add', path: '/n', value: 1000 }],
    gone: true, edited: [{ op: 'replace', path: '/n', value: 3000 }],
    retried: ['applied', 'applied', 0, true], discarded: ['rejected', 'discarded', true, true, 0],
  })
})

test('writes under one key are one; dependsOn orders; a full queue refuses', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    let db = await open()
    const sales = db.collection('sales')
    const one = sales.insert({ kg: 5 }, { idempotencyKey: 'form-1' })
    const two = sales.insert({ kg: 5 }, { idempotencyKey: 'form-1' })
    const rows = [await one, await two]
    const other = await failure(sales.insert({ kg: 6 }, { idempotencyKey: 'form-1' }))
    const first = db.queue.list()[0].id
    await sales.insert({ kg: 7 }, { dependsOn: [first] })
    const waits = db.queue.explain()[1].waitingFor === first && db.queue.list()[1].dependsOn[0] === first
    const bad = await failure(db.queue.discard(first))
    await db.close()
    db = await open()
    const three = db.collection('sales').insert({ kg: 5 }, { idempotencyKey: 'form-1' })
    await three
    const count = db.collection('sales').count()
    await db.sync()
    const out = {
      same: rows[0] === rows[1] && one.recordId === two.recordId && three.recordId === one.recordId, other: [other.homing, other.code], waits, bad: bad.code, count,
      settled: [(await one.settled).status, (await three.settled).status],
    }
    await db.wipe({ discardPending: true })
    const full = await openDatabase({ name: `full-${crypto.randomUUID()}`, maxQueue: 1, sync: { url: 'http://127.0.0.1:9', auto: false } })
    await full.collection('c').insert({ id: 'a' })
    const refused = full.collection('c').insert({ id: 'b' })
    out.full = [(await failure(refused)).code, (await refused.settled).status, full.queue.list().length]
    await full.wipe({ discardPending: true })
    return out
  })
  assert.deepEqual(result, {
    same: true, other: [true, 'duplicate-key'], waits: true, bad: 'blocked', count: 2, settled: ['closed', 'applied'], full: ['queue-full', 'cancelled', 1],
  })
})

test('a long queue is complete as soon as the database is open, and moves on with what is sent', async () => {
  server.answer(namingServer())
  const result = await inPage(async (open) => {
    let db = await open()
    await db.collection('orders').insert({ n: -1 })
    await db.collection('lines').insertMany(Array.from({ length: 600 }, (_, n) => ({ id: `l${n}`, n })))
    await db.sync()
    await db.collection('lines').insertMany(Array.from({ length: 600 }, (_, n) => ({ id: `m${n}`, n })))
    const updated = db.collection('lines').update('l7', { n: 700 })
    await updated
    await db.collection('lines').delete('l8')
    await db.collection('lines').delete('m9')
    const look = () => {
      const [queue, lines] = [db.queue.list(), db.collection('lines')]
      const of = (id) => queue.find(({ recordId }) => recordId === id)
      return {
        counts: [queue.length, db.queue.explain().length, db.status.getSnapshot().pending],
        states: ['l7', 'l8', 'l9', 'm0', 'm9', 'm599', 'nobody'].map((id) => lines.state(id)),
        confirmed: ['l7', 'l8', 'l10', 'l11', 'm0'].map((id) => lines.confirmed(id)?.n ?? null),
        seven: [of('l7')?.op, of('l7')?.record.n, of('l7')?.createdAt === of('l7')?.record._updatedAt, of('l7') && db.queue.patch(of('l7').id)],
        new: of('m3') && db.queue.patch(of('m3').id),
        reasons: [...new Set(db.queue.explain().map(({ reason }) => reason))],
      }
    }
    await db.close()
    db = await open()
    const opened = look()
    const lines = db.collection('lines')
    const versions = () => ['l9', 'l10', 'l11'].map((id) => lines.confirmed(id)?.n ?? null)
    const writes = [lines.delete('l9'), lines.update('l10', { n: 1000 }), db.batch((tx) => tx.collection('lines').update('l11', { n: 1100 }))]
    const atOnce = versions()
    await Promise.all(writes)
    const edited = [atOnce, versions(), ['l9', 'l10', 'l11'].map((id) => lines.state(id))]
    await db.sync()
    const sent = look()
    await db.collection('lines').insert({ id: 'new' })
    await db.close()
    db = await open()
    const short = ['new', 'l9', 'm0'].map((id) => db.collection('lines').state(id))
    await db.close()
    return { opened, edited, sent, short }
  })
  assert.deepEqual(result.opened, {
    counts: [601, 601, 601],
    states: ['queued', 'queued', 'synced', 'queued', 'local', 'queued', 'local'],
    confirmed: [7, 8, 10, 11, null],
    seven: ['update', 700, true, [{ op: 'replace', path: '/n', value: 700 }]],
    new: [{ op: 'add', path: '/id', value: 'm3' }, { op: 'add', path: '/n', value: 3 }],
    reasons: ['It goes with the next cycle.'],
  })
  assert.deepEqual([result.edited, result.short], [[[9, 10, 11], [9, 10, 11], ['queued', 'queued', 'queued']], ['queued', 'synced', 'synced']])
  assert.deepEqual([result.sent.counts, result.sent.confirmed.toSpliced(1, 1), result.sent.states], [[0, 0, 0], [700, 1000, 1100, 0], ['synced', 'synced', 'synced', 'synced', 'local', 'synced', 'local']])
})

test('who follows dead letters of a long queue hears of them when they are there', async () => {
  server.answer(namingServer({ refuse: ({ n }) => (n === 3 ? 'no' : null) }))
  const result = await inPage(async (open) => {
    const db = await open()
    await db.collection('orders').insert({ n: -1 })
    await db.collection('lines').insertMany(Array.from({ length: 2600 }, (_, n) => ({ id: `l${n}`, n })))
    let heard
    const told = new Promise((resolve) => {
      db.deadLetters.subscribe(() => {
        heard = db.deadLetters.list().map(({ recordId }) => recordId)
        if (heard.length > 0) resolve()
      })
    })
    await db.sync()
    await told
    const [state, pending] = [db.collection('lines').state('l3'), db.queue.list().length]
    await db.wipe({ discardPending: true })
    return { heard, state, pending }
  })
  assert.deepEqual(result, { heard: ['l3'], state: 'failed', pending: 0 })
})
