// F1: SIGKILL of the whole browser, again and again. Every write whose promise resolved is there afterwards, whole, once, with
// its place in the queue, counted by a reader that knows nothing of Homing; in the end all of it reaches a server, once.
//
//   ROUNDS=200 npm run test:faults      # more of them
//
// The page itself says when it is to be killed and stands still meanwhile, by a synchronous request that is never answered. So
// each kind of moment is met for certain: between the request of an append and its commit, right after the commit was asked for,
// between two stages of one compaction, in the middle of its last one, and anywhere.
//
// Where a kill has damaged the browser's own log (`leveldb-log.mjs`), which shows before the next start, the rounds go on with a new
// profile: that browser would delete everything. It is counted and told, and rare; nothing else is forgiven.

import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readSql } from '../e2e/sql.mjs'
import { removeProfile } from '../support/browser.mjs'
import { startServer } from '../support/server.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'
import { startChromium } from './chromium-process.mjs'
import { findLogs, goesOnBehindACut, isDamaged } from './leveldb-log.mjs'
import { readRaw } from './raw-rows.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 50)
const WRITES = 1000
const MOMENTS = ['anywhere', 'before the commit', 'after the commit', 'between two stages', 'in the switch']
/** Those of a compaction (`src/storage/indexeddb/compaction.rs`). */
const COMPACTING = MOMENTS.slice(3)
/** A round takes a second or two. */
const PATIENCE_MS = 60_000
/** Rounds on one database; then the next one, with the other durability. */
const ROUNDS_EACH = MOMENTS.length
/** Nothing listens there and nothing is sent by itself: what is written stays queued. */
const SYNC = { url: 'http://127.0.0.1:9', auto: false }

let site
let strike
before(async () => {
  site = await serveBarePage()
  strike = await waitForStrikes()
})
after(async () => {
  await strike.close()
  await site.close()
})

test(`F1: SIGKILL of the browser, ${ROUNDS} rounds: every resolved write is there, whole, and is sent once`, { timeout: 60_000 + ROUNDS * 20_000 }, async (t) => {
  let profile = await newProfile()
  const resolved = new Map() // database -> id -> number written
  const seen = { inFlight: 0, compacting: 0, left: 0, damaged: 0 }
  try {
    // One more where the last one left nothing that could be drained.
    for (let round = 0; round < ROUNDS || resolved.size === 0; round += 1) {
      const which = Math.floor(round / ROUNDS_EACH)
      const database = { name: `kill-${which}`, durability: which % 2 === 0 ? 'relaxed' : 'strict' }
      const known = resolved.get(database.name) ?? new Map()
      resolved.set(database.name, known)
      const moment = MOMENTS[round % MOMENTS.length]
      const { page, kill } = await openPage(profile)
      let state
      try {
        const { left } = await verify(page, database, known, `round ${round}`)
        if (left > 0) seen.left += 1
        const killed = strike.next()
        await page.evaluate(writeUntilKilled, { ...database, sync: SYNC, round, moment, compacts: COMPACTING.includes(moment), url: strike.url, writes: WRITES, at: Math.floor(Math.random() * WRITES), wait: Math.random() * 20 })
        state = await killed
      } finally {
        await kill()
      }
      for (const [id, n] of state.resolved) known.set(id, n)
      seen.inFlight += state.appending > 0 ? 1 : 0
      seen.compacting += state.compacting ? 1 : 0
      t.diagnostic(`round ${round} (${database.durability}, ${moment}): ${state.resolved.length} of ${state.started} writes had resolved, ${state.appending} appends in flight${state.compacting ? ', a compaction under way' : ''}`)
      if (COMPACTING.includes(moment)) assert.ok(state.compacting, 'no compaction was under way')
      if (await isDamaged(profile)) {
        t.diagnostic(`round ${round}: the browser's own log is damaged`)
        seen.damaged += 1
        await removeProfile(profile)
        profile = await newProfile()
        resolved.clear()
      }
    }
    t.diagnostic(`${ROUNDS} rounds, ${seen.inFlight} with an append in flight, ${seen.compacting} within a compaction, ${seen.left} found what one had left behind, ${seen.damaged} damaged the browser's own log`)
    assert.ok(seen.damaged <= Math.max(4, ROUNDS * 0.05), 'the browser does not damage its log this often by itself')
    assert.ok(seen.inFlight >= ROUNDS * 0.3)
    if (ROUNDS >= ROUNDS_EACH) assert.ok(seen.compacting > 0 && seen.left > 0)
    await drainOnce(profile, resolved, t)
  } finally {
    await removeProfile(profile)
  }
})

// What `verify` believes. In most rounds nothing is compacted when the browser dies: those do not show that it reads segments.
test('the independent reader counts what a compaction wrote as it counts rows', async () => {
  const profile = await newProfile()
  const { page, kill } = await openPage(profile)
  try {
    const database = { name: 'raw', durability: 'relaxed' }
    const ids = await page.evaluate(writeUntilCompacted, { ...database, sync: SYNC })
    const raw = await page.evaluate(readRaw, 'homing:raw')
    assert.ok(raw.compacted > 0 && raw.segments > 0 && raw.left === 0, 'something is compacted, and nothing else is there')
    assert.deepEqual([...raw.ids].sort(), ids.sort())
    await verify(page, database, new Map(), 'compacted')
  } finally {
    await kill()
    await removeProfile(profile)
  }
})

test('the browser writing on behind a cut record is told from a record that a kill has cut', async () => {
  const profile = await newProfile()
  const { page, kill } = await openPage(profile)
  try {
    await page.evaluate(writeUntilCompacted, { name: 'log', durability: 'relaxed', sync: SYNC })
  } finally {
    await kill()
  }
  const log = await readFile((await findLogs(profile))[0])
  await removeProfile(profile)
  assert.ok(log.length > 1000)
  assert.equal(goesOnBehindACut(log), false)
  // The first record, its head alone, and a record behind that.
  const first = 7 + log.readUInt16LE(4)
  for (const kept of [first, first + 3, first + 7, first + 8]) assert.equal(goesOnBehindACut(log.subarray(0, kept)), false, `cut after ${kept}`)
  assert.equal(goesOnBehindACut(Buffer.concat([log.subarray(0, first), log.subarray(0, first)])), false)
  for (const kept of [first + 7, first + 8]) assert.equal(goesOnBehindACut(Buffer.concat([log.subarray(0, kept), log])), true, `written on after ${kept}`)
})

test('a browser that deletes everything because a kill has damaged its log: the app is told, and what the server has comes back', { timeout: 120_000 }, async () => {
  const server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
  const profile = await newProfile()
  const run = async (work) => {
    const { page, quit } = await openPage(profile)
    try {
      return await page.evaluate(work, { name: 'wiped', url: server.url, token: await server.token('wiped') })
    } finally {
      await quit()
    }
  }
  try {
    await run(async ({ name, url, token }) => {
      const db = await window.homing.openDatabase({ name, sync: { url, auto: false, getToken: async () => token } })
      await db.collection('facts').insert({ id: 'sent' })
      await db.sync()
      await db.collection('facts').insert({ id: 'unsent' })
    })
    const [log] = await findLogs(profile)
    const bytes = await readFile(log)
    await appendFile(log, Buffer.concat([bytes.subarray(0, 7), bytes]))
    assert.equal(await isDamaged(profile), true)
    const seen = await run(async ({ name, url, token }) => {
      const db = await window.homing.openDatabase({ name, sync: { url, auto: false, getToken: async () => token } })
      const told = new Promise((resolve) => db.addEventListener('storage', ({ detail }) => resolve(detail)))
      const facts = db.collection('facts')
      const before = facts.count()
      const { lost, durable, reason } = await told
      await facts.insert({ id: 'after' })
      await db.sync()
      return { before, lost, durable, told: typeof reason, mode: db.status.getSnapshot().storage.mode, rows: facts.list().map(({ id }) => id).sort() }
    })
    assert.deepEqual(seen, { before: 0, lost: true, durable: true, told: 'string', mode: 'indexeddb', rows: ['after', 'sent'] })
  } finally {
    await server.stop()
    await removeProfile(profile)
  }
})

function newProfile() {
  return mkdtemp(join(tmpdir(), 'homing-kill-'))
}

async function openPage(profile) {
  const { context, kill, quit } = await startChromium(profile)
  const page = await context.newPage()
  await page.goto(site.url)
  return { page: await whenReady(page), kill, quit }
}

/** Raw rows first, then what the engine makes of them. */
async function verify(page, database, known, round) {
  const raw = await page.evaluate(readRaw, `homing:${database.name}`)
  assert.deepEqual(raw.absent, [], `${round}: a segment is missing`)
  const ids = new Set(raw.ids)
  assert.equal(ids.size, raw.ids.length, `${round}: a record is stored twice`)
  assert.equal(raw.entries, raw.ids.length, `${round}: a record and its queue entry are both there, or neither`)
  for (const id of known.keys()) assert.ok(ids.has(id), `${round}: the write ${id} had resolved and is in no row`)
  const found = await page.evaluate(readAll, { ...database, sync: SYNC })
  assert.deepEqual(Object.keys(found.rows).sort(), [...ids].sort(), `${round}: the engine shows what the rows hold`)
  for (const [id, n] of known) assert.equal(found.rows[id].n, n, `${round}: ${id} is what was written`)
  for (const [id, row] of Object.entries(found.rows)) assert.equal(row.text, textOf(row.n, row.text.length), `${round}: ${id} is whole`)
  assert.deepEqual([...found.queued].sort(), [...ids].sort(), `${round}: everything is still to be sent`)
  assert.equal(new Set(found.mutationIds).size, found.mutationIds.length, `${round}: a mutation id was given twice`)
  return raw
}

async function drainOnce(profile, resolved, t) {
  const server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
  const { page, kill } = await openPage(profile)
  try {
    for (const [name, known] of resolved) {
      const which = Number(name.slice('kill-'.length))
      await verify(page, { name, durability: which % 2 === 0 ? 'relaxed' : 'strict' }, known, `${name} at the end`)
      await page.evaluate(async (name) => (await window.kept[name]).close(), name)
      const sent = await page.evaluate(drain, { name, url: server.url, token: await server.token(name) })
      assert.equal(sent.pending, 0)
      const rows = await readSql(server.database, `select id from rows where scope = '${name}' and collection = 'facts'`)
      assert.deepEqual(rows.map(({ id }) => id).sort(), sent.ids.sort(), 'the server has what the device has')
      // A number for each write, none for a repetition.
      const [{ last }] = await readSql(server.database, `select max(rev) - min(rev) + 1 as last from rows where scope = '${name}'`)
      assert.equal(Number(last), sent.ids.length, 'each took effect once')
      t.diagnostic(`${name}: ${known.size} writes had resolved; ${sent.ids.length - known.size} more were durable before their promise could say so`)
    }
  } finally {
    await kill()
    await server.stop()
  }
}

/** Takes the page's last words; the request is never answered. */
async function waitForStrikes() {
  let struck = () => {}
  const server = createServer((request, response) => {
    if (request.method === 'OPTIONS') return response.writeHead(204, { 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' }).end()
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => struck(JSON.parse(Buffer.concat(chunks)))).on('error', () => {})
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** The next one; if it does not come, the page never met its moment. */
    next: () => new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no strike within ${PATIENCE_MS} ms`)), PATIENCE_MS)
      struck = (state) => {
        clearTimeout(late)
        resolve(state)
      }
    }),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function textOf(n, length) {
  return `fact ${n} `.repeat(Math.ceil(length / 6)).slice(0, length)
}

// Runs in the page.
async function readAll({ name, durability, sync }) {
  window.kept ??= {}
  window.kept[name] ??= window.homing.openDatabase({ name, durability, sync })
  const db = await window.kept[name]
  const rows = Object.fromEntries(db.collection('facts').list().map((row) => [row.id, { n: row.n, text: row.text }]))
  const queue = db.queue.list()
  return { rows, queued: queue.map(({ recordId }) => recordId), mutationIds: queue.map(({ id }) => id) }
}

// Runs in the page: one write after the other until a compaction is durable.
async function writeUntilCompacted({ name, durability, sync }) {
  window.kept = { [name]: window.homing.openDatabase({ name, durability, sync }) }
  const facts = (await window.kept[name]).collection('facts')
  let compacted = false
  const { transaction } = IDBDatabase.prototype
  IDBDatabase.prototype.transaction = function watched(...args) {
    const begun = transaction.apply(this, args)
    if (begun.mode === 'readwrite' && ['journal', 'segments'].every((store) => begun.objectStoreNames.contains(store))) begun.addEventListener('complete', () => { compacted = true })
    return begun
  }
  const ids = []
  while (!compacted) ids.push((await facts.insert({ n: ids.length, text: `fact ${ids.length} `.repeat(2000).slice(0, 12_000) })).id)
  return ids
}

// Runs in the page: writes, and stands still at the moment. Resolves at once.
async function writeUntilKilled({ name, round, moment, compacts, url, writes, at, wait }) {
  const db = await window.kept[name]
  const facts = db.collection('facts')
  const resolved = []
  let [started, appending, compacting, putting] = [0, 0, false, 0]
  function strike() {
    const request = new XMLHttpRequest()
    request.open('POST', url, false)
    request.send(JSON.stringify({ resolved, started, appending, compacting }))
  }
  const { transaction } = IDBDatabase.prototype
  IDBDatabase.prototype.transaction = function watched(...args) {
    const begun = transaction.apply(this, args)
    if (begun.mode !== 'readwrite') return begun
    const [stages, appends] = ['segments', 'journal'].map((store) => begun.objectStoreNames.contains(store))
    const ended = () => {
      if (!stages) appending -= 1
      else if (appends) compacting = false
      else if (moment === 'between two stages') strike()
    }
    if (stages) [compacting, putting] = [true, 0]
    else appending += 1
    begun.addEventListener('complete', ended)
    begun.addEventListener('abort', ended)
    return begun
  }
  const { commit } = IDBTransaction.prototype
  IDBTransaction.prototype.commit = function watched() {
    const here = !this.objectStoreNames.contains('segments') && started > at % 300
    if (here && moment === 'before the commit') strike()
    commit.call(this)
    if (here && moment === 'after the commit') strike()
  }
  const { put } = IDBObjectStore.prototype
  IDBObjectStore.prototype.put = function watched(...args) {
    const done = put.apply(this, args)
    if (this.name === 'segments' && this.transaction.objectStoreNames.contains('journal') && ++putting === 1 && moment === 'in the switch') strike()
    return done
  }
  // Large ones make a compaction due, of more than one stage: sixteen of these are more than a megabyte.
  const length = compacts ? 100_000 : 100
  async function writer() {
    while (started < writes) {
      started += 1
      const n = round * 1_000_000 + started
      if (moment === 'anywhere' && started === at) setTimeout(strike, wait)
      const { id } = await facts.insert({ n, text: `fact ${n} `.repeat(Math.ceil(length / 6)).slice(0, length) })
      resolved.push([id, n])
    }
    if (!compacts) setTimeout(strike, wait)
  }
  // A compaction begins in a pause between appends; several writers leave none.
  for (let writers = compacts ? 1 : 4; writers > 0; writers -= 1) void writer()
}

// Runs in the page.
async function drain({ name, url, token }) {
  const db = await window.homing.openDatabase({ name, sync: { url, auto: false, getToken: async () => token } })
  await db.sync()
  const ids = db.collection('facts').list().map(({ id }) => id)
  const { pending } = db.status.getSnapshot()
  await db.close()
  return { ids, pending }
}
