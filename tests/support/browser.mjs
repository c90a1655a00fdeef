// A real Chromium with its profile on disk, for tests. IndexedDB survives `close` and `kill` when the profile is reused.
// What a test does in a page is the test's own; this only starts and ends browsers.

import { existsSync } from 'node:fs'
import { mkdtemp, readFile, readdir, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { chromePath } from '../../scripts/support/environment.mjs'

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

/**
 * Starts Chromium and resolves to the running browser.
 *
 * - `context`: Playwright's persistent context.
 * - `open(url)`: a new page at that address; its uncaught errors and console errors are collected in `problems`.
 * - `problems`: what the pages complained about; a test asserts that it is empty, or looks for what it expects.
 * - `profile`: the user data folder. Pass it to the next `launchBrowser` to go on with the same storage.
 * - `close()`: ends the browser in order, and removes the profile unless it was passed in.
 * - `kill()`: SIGKILL to the browser process, as a crash does; the profile stays. Resolves when the process is gone.
 *
 * @param {{ profile?: string, headless?: boolean, args?: readonly string[] }} [options]
 * @example
 * const browser = await launchBrowser()
 * const page = await browser.open('http://127.0.0.1:8788/')
 * await browser.close()
 */
export async function launchBrowser(options = {}) {
  const executablePath = chromePath()
  if (executablePath === null) throw new Error('There is no Chrome or Chromium; run: node scripts/setup.mjs browser')
  const profile = options.profile ?? await mkdtemp(join(tmpdir(), 'homing-profile-'))
  const context = await chromium.launchPersistentContext(profile, { executablePath, headless: options.headless ?? true, args: [...ARGS, ...options.args ?? []], handleSIGINT: false })
  const problems = []
  const closed = new Promise((resolve) => context.once('close', resolve))
  context.on('weberror', (error) => problems.push(String(error.error().stack ?? error.error())))
  context.on('console', (message) => { if (message.type() === 'error') problems.push(`console: ${message.text()} (${message.location().url})`) })
  return {
    context,
    problems,
    profile,
    async open(url) {
      const page = await context.newPage()
      await page.goto(url)
      return page
    },
    async close() {
      await context.close()
      if (options.profile === undefined) await removeProfile(profile)
    },
    async kill() {
      const pid = await browserPid(profile)
      process.kill(pid, 'SIGKILL')
      await closed
    },
  }
}

/** Removes a profile that was kept. */
export async function removeProfile(profile) {
  await rm(profile, { recursive: true, force: true, maxRetries: 5 })
}

/** Chromium names its process in the lock of its profile, as `host-pid`. */
async function browserPid(profile) {
  const lock = await readlink(join(profile, 'SingletonLock')).catch(() => null)
  if (lock !== null) return Number(lock.slice(lock.lastIndexOf('-') + 1))
  if (existsSync('/proc')) {
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const line = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
      if (line.includes(`--user-data-dir=${profile}`) && !line.some((arg) => arg.startsWith('--type='))) return Number(pid)
    }
  }
  throw new Error(`No Chromium runs on the profile ${profile}`)
}
