// A write whose promise resolved is durable: it survives SIGKILL of the whole browser with an append in flight, and a second
// connection to the database reads it at once.

import assert from 'node:assert/strict'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { launchBrowser, removeProfile } from '../support/browser.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'
import { startChromium } from './chromium-process.mjs'

const ROUNDS = 10
/** Nothing listens there and nothing is sent by itself: what is written stays queued. */
const SYNC = { url: 'http://127.0.0.1:9', auto: false }

let site
before(async () => { site = await serveBarePage() })
after(() => site.close())

test(`SIGKILL of the browser, ${ROUNDS} rounds with an append in flight: every resolved write is there`, { timeout: 240_000 }, async (t) => {
  const profile = await mkdtemp(join(tmpdir(), 'homing-kill-'))
  const resolved = new Map() // id -> number written
  let beyond = 0
  try {
    for (let round = 1; round <= ROUNDS + 1; round += 1) {
      const { context, kill } = await startChromium(profile)
      const page = await context.newPage()
      const enough = 20 + round * 17
      const reports = watchReports(enough)
      await page.exposeFunction('report', reports.take)
      await page.goto(site.url)
      await whenReady(page)

      const found = await page.evaluate(readAll, SYNC)
      for (const [id, n] of resolved) {
        assert.equal(found.rows[id]?.n, n, `round ${round}: the write ${id} had resolved`)
        assert.equal(found.rows[id].text, textOf(n), `round ${round}: ${id} is whole`)
        assert.ok(found.queued.includes(id), `round ${round}: ${id} is still to be sent`)
      }
      for (const [id, row] of Object.entries(found.rows)) assert.equal(row.text, textOf(row.n), `round ${round}: ${id} is whole`)
      assert.equal(new Set(found.mutationIds).size, found.mutationIds.length, `round ${round}: a mutation id was given twice`)
      assert.equal(found.queued.length, Object.keys(found.rows).length, `round ${round}: rows and queue belong together`)
      beyond = Object.keys(found.rows).length - resolved.size
      if (round > ROUNDS) {
        await kill()
        break
      }
      await page.evaluate(writeForEver, { sync: SYNC, round })
      await reports.enough
      await kill()
      for (const [id, n] of reports.taken) resolved.set(id, n)
      assert.ok(reports.started() > reports.taken.size, `round ${round}: no append was in flight`)
    }
    assert.ok(resolved.size > ROUNDS * 20)
    t.diagnostic(`${resolved.size} writes had resolved, all are there; ${beyond} more were durable before their promise could say so`)
  } finally {
    await removeProfile(profile)
  }
})

test('a second connection reads each row right after its promise resolved', { timeout: 60_000 }, async () => {
  const browser = await launchBrowser()
  try {
    const writer = await whenReady(await browser.open(site.url))
    const reader = await whenReady(await browser.open(site.url))
    await writer.evaluate(async (sync) => { window.db = await window.homing.openDatabase({ name: 'second', sync }) }, SYNC)
    for (let n = 0; n < 50; n += 1) {
      const id = await writer.evaluate(async (value) => (await window.db.collection('facts').insert({ n: value, text: `row-${value}-of-the-writer` })).id, n)
      // A raw connection, opened anew and knowing nothing of Homing's code: the row is in the database, not in a cache.
      const found = await reader.evaluate(searchRawDatabases, `row-${n}-of-the-writer`)
      assert.ok(found, `row ${n} (${id}) is not in IndexedDB though its promise resolved`)
    }
    // The control: what was never written is not found.
    assert.equal(await reader.evaluate(searchRawDatabases, 'row-50-of-the-writer'), false)
    // A second engine, while the first is open.
    const read = await reader.evaluate(async (sync) => {
      const db = await window.homing.openDatabase({ name: 'second', sync })
      return db.collection('facts').list().map(({ n }) => n)
    }, SYNC)
    assert.deepEqual(read, Array.from({ length: 50 }, (_, n) => n))
    const fresh = await writer.evaluate(async () => (await window.db.collection('facts').insert({ n: 99, text: 'later' })).id)
    // The engine that is open learns of it by itself.
    await reader.evaluate(async ({ id, sync }) => {
      const db = await window.homing.openDatabase({ name: 'second', sync })
      const facts = db.collection('facts')
      await new Promise((resolve) => {
        const look = () => { if (facts.get(id)) resolve() }
        facts.subscribe(look)
        look()
      })
    }, { id: fresh, sync: SYNC })
    assert.deepEqual(browser.problems, [])
  } finally {
    await browser.close()
  }
})

function textOf(n) {
  return `fact ${n} `.repeat(12)
}

// Collects what the page reports; `started` counts the writes that were begun.
function watchReports(count) {
  const taken = new Map()
  let begun = 0
  let done
  const enough = new Promise((resolve) => { done = resolve })
  return {
    taken,
    enough,
    started: () => begun,
    take(id, n, started) {
      taken.set(id, n)
      begun = Math.max(begun, started)
      if (taken.size >= count) done()
    },
  }
}

// Runs in the page.
async function readAll(sync) {
  const db = await window.homing.openDatabase({ name: 'kill', sync })
  const rows = Object.fromEntries(db.collection('facts').list().map((row) => [row.id, { n: row.n, text: row.text }]))
  const queue = db.queue.list()
  return { rows, queued: queue.map(({ recordId }) => recordId), mutationIds: queue.map(({ id }) => id) }
}

// Runs in the page, and never stops: some writes are always in flight. Resolves at once.
async function writeForEver({ sync, round }) {
  const db = await window.homing.openDatabase({ name: 'kill', sync })
  const facts = db.collection('facts')
  let started = 0
  async function writer() {
    for (;;) {
      started += 1
      const n = round * 1_000_000 + started
      const { id } = await facts.insert({ n, text: `fact ${n} `.repeat(12) })
      window.report(id, n, started)
    }
  }
  for (let writers = 0; writers < 4; writers += 1) void writer()
}

// Runs in the page: is the text in any row of any IndexedDB database of this origin?
async function searchRawDatabases(text) {
  const settle = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const decoder = new TextDecoder()
  const holds = (value) => {
    if (typeof value === 'string') return value.includes(text)
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return decoder.decode(value).includes(text)
    return value !== null && typeof value === 'object' && Object.values(value).some(holds)
  }
  for (const { name } of await indexedDB.databases()) {
    const connection = await settle(indexedDB.open(name))
    try {
      for (const store of connection.objectStoreNames) {
        const rows = await settle(connection.transaction(store).objectStore(store).getAll())
        if (rows.some(holds)) return true
      }
    } finally {
      connection.close()
    }
  }
  return false
}
