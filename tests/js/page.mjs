// A page with the built package in a real Chromium, for the tests of the shell. With HOMING_WORKER=1 its databases run in workers.

import { launchBrowser } from '../support/browser.mjs'
import { serveStatic } from '../../scripts/static-server.mjs'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** What `openDatabase` of the page is: every database in a worker unless a test says otherwise. */
const OPEN = process.env['HOMING_WORKER'] === '1' ? '(options) => open(options && { worker: true, ...options })' : 'open'
const HTML = `<!doctype html><meta charset="utf-8"><title>test</title>
<script type="importmap">{"imports":{"homing":"/dist/homing.js","homing/slim":"/dist/slim.js"}}</script>
<script type="module">
  import { openDatabase as open, HomingError } from 'homing'
  const openDatabase = ${OPEN}
  Object.assign(window, { openDatabase, HomingError })
  // What a failure looks like on this side of the fence.
  window.failure = (promise) => Promise.resolve(promise).then(() => 'it resolved', (error) => ({ homing: error instanceof HomingError, code: error.code, path: error.path, message: error.message, phase: error.phase, retryable: error.retryable }))
  window.ready = true
</script>`

/**
 * Opens the test page. `problems` are uncaught errors of the pages; `open()` is another tab of the same profile.
 *
 * @example
 * const site = await openSite()
 * const page = await site.open()
 * await page.evaluate(async () => { const db = await openDatabase({ name: 'x' }) })
 * await site.close()
 */
export async function openSite({ mounts = {}, files = {}, profile } = {}) {
  const server = await serveStatic({ mounts: { '/dist/': `${ROOT}dist`, ...mounts }, files: { '/': HTML, ...files } })
  const browser = await launchBrowser({ profile })
  return {
    url: server.url,
    browser,
    problems: browser.problems,
    async open() {
      const page = await browser.open(server.url)
      await page.waitForFunction(() => window.ready)
      return page
    },
    async close() {
      await browser.close()
      await server.close()
    },
  }
}
