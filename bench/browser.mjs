// Real Chromium on a profile directory, so that IndexedDB is on disk.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // The page that waits for its turn must not be slower for it when the turn comes.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--js-flags=--expose-gc',
  '--host-resolver-rules=MAP *.localhost 127.0.0.1',
]

/** Runs `work` with the path of an empty profile, which is deleted afterwards. */
export async function withProfile(work) {
  const profile = await mkdtemp(join(tmpdir(), 'homing-bench-'))
  try {
    return await work(profile)
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Runs `work` with a new browser process on `profile`: `{ open(origin) }` resolves to a page. The process then ends. */
export async function withBrowser(profile, work) {
  const context = await chromium.launchPersistentContext(profile, { executablePath: EXECUTABLE, args: ARGS, headless: true })
  try {
    return await work({ open: (origin) => openPage(context, origin) })
  } finally {
    await context.close()
  }
}

/** Name and version of the browser, for the report. */
export async function readVersion() {
  const { stdout } = await promisify(execFile)(EXECUTABLE, ['--version'])
  return stdout.trim()
}

async function openPage(context, origin) {
  const page = await context.newPage()
  const errors = []
  page.on('pageerror', (error) => errors.push(error))
  await page.goto(`${origin}/bench/page.html`)
  await page.waitForFunction(() => globalThis.bench !== undefined)
  const exact = await page.evaluate(() => globalThis.crossOriginIsolated && typeof globalThis.gc === 'function')
  if (!exact) throw new Error('the page is not cross-origin isolated or has no gc(): its times would be coarse')
  return {
    /** Brings the page to the front and runs one step; an error nobody caught in the page fails the step. */
    async run(request) {
      await page.bringToFront()
      const result = await page.evaluate((task) => globalThis.bench.run(task), request)
      if (errors.length > 0) throw errors[0]
      return result
    },
    session: () => context.newCDPSession(page),
  }
}
