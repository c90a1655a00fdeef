// A full disk: the write is refused with a clear error, leaves memory again, subscribers hear of it, earlier data stays
// readable, and with space again the engine goes on. Once by Chromium's own quota, once by a commit that fails.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

let site
before(async () => { site = await serveBarePage() })
after(() => site.close())

/** Runs one test in a fresh profile with an open database `window.db` and one record, `kept`. */
async function withPage(work) {
  const browser = await launchBrowser()
  try {
    const page = await whenReady(await browser.open(site.url))
    await page.evaluate(async () => {
      window.db = await window.homing.openDatabase({ name: 'full', sync: { url: 'http://127.0.0.1:9', auto: false } })
      window.facts = window.db.collection('facts')
      window.heard = []
      await window.facts.insert({ id: 'kept', text: 'written while there was space' })
      window.facts.subscribe(({ added, removed }) => window.heard.push({ added: added.map(({ id }) => id), removed: [...removed] }))
    })
    await work(page, browser)
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
async function writeRefused(bytes) {
  const write = window.facts.insert({ id: 'refused', text: 'x'.repeat(bytes) })
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

test('the quota of the origin is used up', { timeout: 60_000 }, () => withPage(async (page) => {
  const cdp = await page.context().newCDPSession(page)
  const { usage } = await cdp.send('Storage.getUsageAndQuota', { origin: site.origin })
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: site.origin, quotaSize: Math.ceil(usage) + 4_096 })
  const outcome = await page.evaluate(writeRefused, 900_000)
  await assertRefused(page, outcome)
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: site.origin })
  assert.equal(await page.evaluate(writeAfterwards), 'there is space again')
}))

test('the disk is full only at commit: the transaction aborts with QuotaExceededError', { timeout: 60_000 }, () => withPage(async (page) => {
  await page.evaluate(() => {
    const add = IDBObjectStore.prototype.add
    const put = IDBObjectStore.prototype.put
    const restore = () => Object.assign(IDBObjectStore.prototype, { add, put })
    // The request succeeds, the commit does not; a browser reports that as `abort` with the reason in `transaction.error`.
    function failing(original) {
      return function failAtCommit(...args) {
        const request = original.apply(this, args)
        const { transaction } = this
        Object.defineProperty(transaction, 'error', { configurable: true, get: () => new DOMException('the disk is full', 'QuotaExceededError') })
        request.addEventListener('success', () => { try { transaction.abort() } catch { /* ended already */ } })
        return request
      }
    }
    Object.assign(IDBObjectStore.prototype, { add: failing(add), put: failing(put) })
    window.restoreStorage = restore
  })
  const outcome = await page.evaluate(writeRefused, 100)
  await assertRefused(page, outcome)
  await page.evaluate(() => window.restoreStorage())
  assert.equal(await page.evaluate(writeAfterwards), 'there is space again')
}))

test('writes on top of a refused one fail with it, others do not', { timeout: 60_000 }, () => withPage(async (page) => {
  const cdp = await page.context().newCDPSession(page)
  const { usage } = await cdp.send('Storage.getUsageAndQuota', { origin: site.origin })
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: site.origin, quotaSize: Math.ceil(usage) + 4_096 })
  const codes = await page.evaluate(async () => {
    const first = window.facts.insert({ id: 'refused', text: 'x'.repeat(900_000) })
    const second = window.facts.update('refused', { text: 'changed before the answer' })
    const outcomes = await Promise.allSettled([first, second])
    return outcomes.map(({ status, reason }) => status === 'rejected' ? reason.code : status)
  })
  assert.deepEqual(codes.map((code) => code === 'fulfilled'), [false, false], String(codes))
  assert.equal(codes[0], 'storage-full')
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: site.origin })
  const left = await page.evaluate(() => ({ refused: window.facts.get('refused') ?? null, queue: window.db.queue.list().length }))
  assert.deepEqual(left, { refused: null, queue: 1 })
  assert.equal(await page.evaluate(writeAfterwards), 'there is space again')
}))
