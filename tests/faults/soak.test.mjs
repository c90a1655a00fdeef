// F28: opening and closing again and again, and writing on and on, takes no more memory after a while: neither JavaScript's nor
// the module's.
//
//   SOAK=5 npm run test:faults      # five times as much: 1,000 openings, 100,000 puts

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

const TIMES = Number(process.env.SOAK ?? 1)
/** What garbage collectors and tables that double leave open. */
const SLACK = 3 << 20

let site
let browser
before(async () => {
  site = await serveBarePage()
  browser = await launchBrowser()
})
after(async () => {
  await browser.close()
  await site.close()
})

/** Bytes in use after a collection: the heap, and what lies outside of it, the module's memory among that. */
async function inUse(cdp) {
  for (let twice = 0; twice < 2; twice += 1) await cdp.send('HeapProfiler.collectGarbage')
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await cdp.send('Runtime.getHeapUsage')
  return { heap: usedSize + embedderHeapUsedSize, outside: backingStorageSize }
}

async function assertPlateau(t, what, page, work) {
  const cdp = await page.context().newCDPSession(page)
  // The first tenth is warming up.
  await page.evaluate(work, 0.1)
  const before = await inUse(cdp)
  await page.evaluate(work, 0.9)
  const after = await inUse(cdp)
  const mega = (bytes) => `${(bytes / 1048576).toFixed(1)} MB`
  t.diagnostic(`${what}: heap ${mega(before.heap)} → ${mega(after.heap)}, outside ${mega(before.outside)} → ${mega(after.outside)}`)
  assert.ok(after.heap - before.heap < SLACK, 'the heap grows')
  assert.ok(after.outside - before.outside < SLACK, 'the memory of the module grows')
}

test(`F28: ${200 * TIMES} times opened and closed`, { timeout: 120_000 * TIMES }, async (t) => {
  const page = await whenReady(await browser.open(site.url))
  await page.evaluate((times) => {
    window.work = async (share) => {
      for (let n = 0; n < 200 * times * share; n += 1) {
        const db = await window.homing.openDatabase({ name: 'soak', sync: { url: 'http://127.0.0.1:9', auto: false } })
        db.collection('facts').subscribe(() => {})
        await db.collection('facts').put({ id: 'one', n })
        await db.close()
      }
    }
  }, TIMES)
  await assertPlateau(t, 'open and close', page, (share) => window.work(share))
  const left = await page.evaluate(async () => (await navigator.locks.query()).held.length)
  assert.equal(left, 0, 'no lock is left')
})

test(`F28: ${20_000 * TIMES} puts on 100 records`, { timeout: 120_000 * TIMES }, async (t) => {
  const page = await whenReady(await browser.open(site.url))
  await page.evaluate(async (times) => {
    const db = await window.homing.openDatabase({ name: 'puts', sync: { url: 'http://127.0.0.1:9', auto: false } })
    const facts = db.collection('facts')
    window.work = async (share) => {
      for (let n = 0; n < 20_000 * times * share; n += 50) {
        await Promise.all(Array.from({ length: 50 }, (_, k) => facts.put({ id: `r${(n + k) % 100}`, n, text: 'x'.repeat(200) })))
      }
    }
    await window.work(0.2)
  }, TIMES)
  await assertPlateau(t, 'puts', page, (share) => window.work(share))
  assert.deepEqual(browser.problems, [])
})
