// What one tab was told is durable is in the database at that moment: a second connection reads it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

/** Nothing listens there and nothing is sent by itself: what is written stays queued. */
const SYNC = { url: 'http://127.0.0.1:9', auto: false }

let site
before(async () => { site = await serveBarePage() })
after(() => site.close())

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
