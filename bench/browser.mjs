// The pages that measure: real Chromium on a profile directory, one origin per peer, clocks as exact as they get.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { farmText } from '../scripts/farm.mjs'
import { serveStatic } from '../scripts/static-server.mjs'
import { ROOT, chromePath } from '../scripts/support/environment.mjs'
import { capture } from '../scripts/support/process.mjs'
import { createSyncServer } from './server.mjs'

const ARGS = [
  // The page that waits for its turn must not be slower for it when the turn comes.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--js-flags=--expose-gc',
  '--enable-precise-memory-info',
  '--host-resolver-rules=MAP *.localhost 127.0.0.1',
]
const HEADERS = {
  // As hashed assets are served in production: a returning visitor has them.
  'cache-control': 'public, max-age=86400, immutable',
  // Cross-origin isolation makes `performance.now()` exact to 5 µs instead of 100 µs.
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
}

/**
 * Serves the pages, the built package and the server that all push to while `work` runs, and gives it the function that names a peer's
 * page.
 *
 * Each peer has an origin of its own, and with it storage of its own: what one leaves behind for IndexedDB to tidy up
 * does not slow another one down.
 */
export async function withPages(work) {
  const mounts = { '/bench/': join(ROOT, 'bench'), '/dist/': join(ROOT, 'dist') }
  const sync = createSyncServer()
  const site = await serveStatic({ mounts, files: { '/farm.json': farmText }, routes: { '/sync/': sync }, headers: HEADERS })
  try {
    return await work((peer) => `http://${peer}.localhost:${site.port}/bench/page.html`)
  } finally {
    await site.close()
  }
}

/** Runs `work` with the path of an empty profile, which is deleted afterwards. */
export async function withProfile(work) {
  const profile = await mkdtemp(join(tmpdir(), 'homing-bench-'))
  try {
    return await work(profile)
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Runs `work` with a new browser process on `profile`: `open(url)` resolves to a page. Then the process ends. */
export async function withBrowser(profile, work) {
  // Not at the top: `run.mjs` may have to install Playwright first.
  const { launchBrowser } = await import('../tests/support/browser.mjs')
  const browser = await launchBrowser({ profile, args: ARGS })
  try {
    return await work((url) => openPage(browser, url))
  } finally {
    await browser.close()
  }
}

/** Name and version of the browser, for the report. */
export async function readVersion() {
  return await capture(chromePath(), ['--version']) ?? 'unknown browser'
}

async function openPage({ context, problems, open }, url) {
  const page = await open(url)
  await page.waitForFunction(() => globalThis.bench !== undefined)
  const session = await context.newCDPSession(page)
  await session.send('Performance.enable')
  await page.exposeFunction('mainThreadTime', async () => {
    const { metrics } = await session.send('Performance.getMetrics')
    return metrics.find(({ name }) => name === 'TaskDuration').value * 1000
  })
  const exact = await page.evaluate(() => globalThis.crossOriginIsolated && typeof globalThis.gc === 'function')
  if (!exact) throw new Error('the page is not cross-origin isolated or has no gc(): its times would be coarse')
  return {
    /** Brings the page to the front and runs one step; an error that nobody caught in the page fails the step. */
    async run(request) {
      await page.bringToFront()
      const result = await page.evaluate((task) => globalThis.bench.run(task), request)
      if (problems.length > 0) throw new Error(`${request.module}, ${request.workload}: ${problems[0]}`)
      return result
    },
    /** Makes the processor look `rate` times slower from now on. */
    throttle: (rate) => session.send('Emulation.setCPUThrottlingRate', { rate }),
    session: () => context.newCDPSession(page),
  }
}
