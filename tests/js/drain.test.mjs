// A long time offline, then everything at once: how many requests 10,000 queued mutations need on a real server, and how long
// the page is busy at a stretch meanwhile. Figures are printed; how fast other parts are is the business of `bench/`.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeRecords } from '../../bench/records.mjs'
import { startServer } from '../support/server.mjs'
import { openSite } from './page.mjs'

const MUTATIONS = 10_000
const MOST_REQUESTS = 25
/** Each a farm of its own: how long the page is busy differs from one to the next. */
const ROUNDS = Number(process.env.ROUNDS ?? 1)

let server
let site

before(async () => {
  server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
  site = await openSite()
})
after(async () => {
  await site.close()
  await server.stop()
})

/** Queues the records while the page does not sync, then drains them and watches the main thread. */
async function drain(scope) {
  const page = await site.open()
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Performance.enable')
  const spent = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics')
    const seconds = (name) => metrics.find((metric) => metric.name === name).value
    return { task: seconds('TaskDuration'), script: seconds('ScriptDuration') }
  }
  await page.evaluate(async ({ records, url, token }) => {
    window.db = await openDatabase({ name: `drain-${crypto.randomUUID()}`, sync: { url, auto: false, getToken: async () => token } })
    for (let from = 0; from < records.length; from += 1000) await db.collection('rows').insertMany(records.slice(from, from + 1000))
    // What writing left to be done later is not part of it.
    await new Promise((resolve) => { setTimeout(resolve, 500) })
  }, { records: makeRecords(MUTATIONS), url: server.url, token: await server.token(scope) })
  const before = await spent()
  const seen = await page.evaluate(async () => {
    const tasks = []
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)))
    observer.observe({ type: 'longtask' })
    // Between two turns of the event loop lies whatever runs on it, also what is shorter than a "long task".
    let gap = 0
    let last = performance.now()
    let running = true
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      const now = performance.now()
      gap = Math.max(gap, now - last)
      last = now
      if (running) setTimeout(() => { last = performance.now(); port2.postMessage(null) }, 0)
    }
    const spin = () => { if (running) { const from = performance.now(); gap = Math.max(gap, from - last); last = from; setTimeout(spin, 0) } }
    spin()
    const started = performance.now()
    await db.sync()
    running = false
    const ms = performance.now() - started
    observer.takeRecords().forEach(({ duration }) => tasks.push(duration))
    observer.disconnect()
    return { ms, gap, longest: Math.max(0, ...tasks), tasks: tasks.length, pending: db.status.getSnapshot().pending, metrics: { ...db.metrics() }, rows: db.collection('rows').list().length }
  })
  const after = await spent()
  await page.evaluate(() => db.wipe({ discardPending: true }))
  await page.close()
  return { ...seen, cpu: { task: after.task - before.task, script: after.script - before.script } }
}

test('10,000 queued mutations drain in few requests; how long the page is busy at a stretch is printed', { timeout: 180_000 }, async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const seen = await drain(`farm-${round}`)
    t.diagnostic(`${MUTATIONS} mutations: ${seen.metrics.requests} requests, ${seen.ms.toFixed(0)} ms, main thread ${(seen.cpu.task * 1000).toFixed(0)} ms of CPU (script ${(seen.cpu.script * 1000).toFixed(0)} ms), longest task ${seen.longest.toFixed(0)} ms (${seen.tasks} over 50 ms), longest pause of the event loop (at most 50 ms on an idle machine) ${seen.gap.toFixed(0)} ms`)
    assert.deepEqual([seen.pending, seen.rows], [0, MUTATIONS])
    assert.ok(seen.metrics.requests <= MOST_REQUESTS, `${seen.metrics.requests} requests`)
  }
  assert.deepEqual(site.problems, [])
})
