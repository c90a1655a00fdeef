#!/usr/bin/env node
// How long the engine keeps the page busy at a stretch, in the page and in a worker: the longest gap between tasks that a page gives
// itself, ahead of all others, while a database works: what a click would wait for at most. Not here: how fast anything is (`run.mjs`).
//
//   node bench/main-thread.mjs [ROWS]

import { openSite } from '../tests/js/page.mjs'

const ROWS = Number(process.argv[2] ?? 100_000)
const BULK = 10_000

const site = await openSite()
const page = await site.open()
const rows = []
for (const worker of [false, true]) rows.push(await page.evaluate(measure, { worker, total: ROWS, bulk: BULK }))
await site.close()

console.log(`longest task of the page in ms; ${ROWS} records of 350 bytes stored, ${BULK} written at once`)
console.log('                                        page    worker')
const [inPage, inWorker] = rows
for (const name of Object.keys(inPage)) console.log(name.padEnd(36) + [inPage, inWorker].map((figures) => figures[name].toFixed(1).padStart(10)).join(''))

async function measure({ worker, total, bulk }) {
  const record = (n) => ({ id: `r${n}`, date: '2026-03-01', house: `House ${n % 26}`, eggs: n, graded: { a: n % 7, b: n % 5, c: [1, 2, 3] }, note: 'x'.repeat(220) })
  const records = (from, count) => Array.from({ length: count }, (_, n) => record(from + n))
  const figures = {}
  // Messages would queue behind those of the worker: the gap would be a sum of short tasks.
  // Without the delay nothing else would ever run.
  const task = () => scheduler.postTask(() => {}, { priority: 'user-blocking', delay: 1 })
  const longest = async (name, work) => {
    await new Promise((resolve) => setTimeout(resolve, 300))
    let [over, gap] = [false, 0]
    const watch = (async () => {
      for (let last = performance.now(); !over;) {
        await task()
        const now = performance.now()
        gap = Math.max(gap, now - last)
        last = now
      }
    })()
    await task()
    const result = await work()
    over = true
    await watch
    figures[name] = gap
    return result
  }
  const options = { name: `longest-${worker}`, worker }
  let db = await openDatabase(options)
  const c = db.collection('c')
  // So many rows that the journal is folded into segments several times on the way.
  await longest('writing all in batches, compactions', async () => { for (let n = 0; n < total; n += 250) await c.insertMany(records(n, Math.min(250, total - n))) })
  await db.close()
  db = await longest('open', () => openDatabase(options))
  const again = db.collection('c')
  const given = records(total, bulk)
  await longest(`insertMany of ${bulk}`, () => again.insertMany(given))
  const slices = Array.from({ length: bulk / 250 }, (_, n) => records(total + bulk + n * 250, 250))
  await longest('the same in slices of 250', async () => { for (const slice of slices) await again.insertMany(slice) })
  await longest('1,000 updates, one by one', async () => { for (let n = 0; n < 1000; n++) await again.update(`r${n}`, { eggs: -n }) })
  await longest('2,000 updates at once', () => Promise.all(Array.from({ length: 2000 }, (_, n) => again.update(`r${n}`, { eggs: n }))))
  await longest('list() for the first time', async () => { again.list() })
  await longest('closing', () => db.close())
  db = await openDatabase(options)
  await db.wipe({ discardPending: true })
  return figures
}
