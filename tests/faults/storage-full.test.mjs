// A full disk: the write is refused with a clear error, leaves memory again, subscribers hear of it, earlier data stays
// readable, and with space again the engine goes on. Once by Chromium's own quota, once by a commit that fails.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

let site
before(async () => { site = await serveBarePage() })
after(() => site.close())

/** Space for the first record, not for the large one. */
const QUOTA = 400_000
const LARGE = 900_000
/** Chromium counts bytes after compression, so the large record is noise. */
const NOISE = Array.from({ length: LARGE / 10 }, () => Math.random().toString(36).slice(2, 12).padEnd(10, '0')).join('')

/**
 * Runs one test in a fresh profile with an open database `window.db` and one record, `kept`. With `quota` the origin has that
 * many bytes; it is set before the database is opened, as Chromium remembers for a while how much space it found.
 */
async function withPage(work, { quota } = {}) {
  const browser = await launchBrowser()
  try {
    const page = await whenReady(await browser.open(site.url))
    const setQuota = await createQuota(page)
    if (quota !== undefined) await setQuota(quota)
    await page.evaluate(async () => {
      window.db = await window.homing.openDatabase({ name: 'full', sync: { url: 'http://127.0.0.1:9', auto: false } })
      window.facts = window.db.collection('facts')
      window.heard = []
      await window.facts.insert({ id: 'kept', text: 'written while there was space' })
      window.facts.subscribe(({ added, removed }) => window.heard.push({ added: added.map(({ id }) => id), removed: [...removed] }))
    })
    await work(page, setQuota)
    await page.reload()
    await whenReady(page)
    const rows = await page.evaluate(async () => {
      const db = await window.homing.openDatabase({ name: 'full', sync: { url: 'http://127.0.0.1:9', auto: false } })
      return { rows: db.collection('facts').list().map(({ id }) => id), queued: db.queue.list().map(({ recordId }) => recordId) }
    })
    assert.deepEqual(rows, { rows: ['kept', 'afterwards'], queued: ['kept', 'afterwards'] }, 'after a reload: what resolved, and nothing of what was refused')
    assert.deepEqual(browser.problems, [])
  } finally {
    await browser.close()
  }
}

async function createQuota(page) {
  const cdp = await page.context().newCDPSession(page)
  return (quotaSize) => cdp.send('Storage.overrideQuotaForOrigin', { origin: site.origin, quotaSize })
}

async function assertRefused(page, outcome) {
  assert.equal(outcome.isHomingError, true, outcome.message)
  assert.equal(outcome.code, 'storage-full')
  assert.ok(outcome.message.length > 10, outcome.message)
  assert.equal(outcome.seenAtOnce, true, 'before the answer the record was shown')
  const now = await page.evaluate(async () => {
    await new Promise((resolve) => setTimeout(resolve)) // listeners run in a microtask after the rejection; a task later all ran
    return { kept: window.facts.get('kept')?.text, refused: window.facts.get('refused') ?? null, count: window.facts.count(), queue: window.db.queue.list().map(({ recordId }) => recordId), heard: window.heard }
  })
  assert.equal(now.kept, 'written while there was space')
  assert.equal(now.refused, null, 'the refused record left memory')
  assert.equal(now.count, 1)
  assert.deepEqual(now.queue, ['kept'])
  assert.ok(now.heard.some(({ added }) => added.includes('refused')), 'subscribers saw it come')
  assert.ok(now.heard.some(({ removed }) => removed.includes('refused')), 'and go')
}

// Runs in the page.
async function writeRefused(text) {
  const write = window.facts.insert({ id: 'refused', text })
  const seenAtOnce = window.facts.get('refused') !== undefined
  const settled = write.settled.then((verdict) => verdict.status)
  try {
    await write
    return { code: 'it was accepted', seenAtOnce }
  } catch (error) {
    return { code: error.code, message: error.message, isHomingError: error instanceof window.homing.HomingError, seenAtOnce, settled: await Promise.race([settled, 'pending']) }
  }
}

// Runs in the page.
async function writeAfterwards() {
  await window.facts.insert({ id: 'afterwards', text: 'there is space again' })
  return window.facts.get('afterwards').text
}

test('the quota of the origin is used up', { timeout: 60_000 }, () => withPage(async (page, setQuota) => {
  const outcome = await page.evaluate(writeRefused, NOISE)
  await assertRefused(page, outcome)
  await setQuota(undefined)
  assert.equal(await page.evaluate(writeAfterwards), 'there is space again')
}, { quota: QUOTA }))

test('the disk is full only at commit: the transaction aborts with QuotaExceededError', { timeout: 60_000 }, () => withPage(async (page) => {
  await page.evaluate(() => {
    const { commit } = IDBTransaction.prototype
    const restore = () => Object.assign(IDBTransaction.prototype, { commit })
    // Every request succeeds, the commit does not; a browser reports that as `abort` with the reason in `transaction.error`.
    IDBTransaction.prototype.commit = function failAtCommit() {
      Object.defineProperty(this, 'error', { configurable: true, get: () => new DOMException('the disk is full', 'QuotaExceededError') })
      this.abort()
    }
    window.restoreStorage = restore
  })
  const outcome = await page.evaluate(writeRefused, 'a small record')
  await assertRefused(page, outcome)
  await page.evaluate(() => window.restoreStorage())
  assert.equal(await page.evaluate(writeAfterwards), 'there is space again')
}))

test('a write on top of a refused one fails with it', { timeout: 60_000 }, () => withPage(async (page, setQuota) => {
  const codes = await page.evaluate(async (text) => {
    const first = window.facts.insert({ id: 'refused', text })
    const second = window.facts.update('refused', { more: 'before the answer' })
    const outcomes = await Promise.allSettled([first, second])
    return outcomes.map(({ status, reason }) => status === 'rejected' ? reason.code : status)
  }, NOISE)
  assert.equal(codes[0], 'storage-full')
  assert.notEqual(codes[1], 'fulfilled')
  await setQuota(undefined)
  const left = await page.evaluate(() => ({ refused: window.facts.get('refused') ?? null, queue: window.db.queue.list().length }))
  assert.deepEqual(left, { refused: null, queue: 1 })
  assert.equal(await page.evaluate(writeAfterwards), 'there is space again')
}, { quota: QUOTA }))
