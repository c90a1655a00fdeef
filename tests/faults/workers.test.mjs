// The same library without a page around it: in a dedicated worker and in a service worker, where there is no window, no
// document and no localStorage. They write to the page's database; each sees what the other wrote.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { serveStatic } from '../../scripts/static-server.mjs'
import { ROOT } from '../../scripts/support/environment.mjs'
import { launchBrowser } from '../support/browser.mjs'
import { startServer } from '../support/server.mjs'

// A service worker may not import later: importing must do nothing there that fails.
const WORKER = `
import { openDatabase } from '/homing/homing.js'
addEventListener('message', (event) => {
  const { id, sync, token } = event.data
  const answer = (async () => {
    const db = await openDatabase({ name: 'shared', sync: { ...sync, getToken: async () => token } })
    const facts = db.collection('facts')
    await facts.insert({ id })
    await db.sync()
    const answer = { rows: facts.list().map((row) => row.id).sort(), pending: db.status.getSnapshot().pending, mode: db.status.getSnapshot().storage.mode }
    await db.close()
    return answer
  })().catch((error) => ({ error: String(error) }))
  event.waitUntil?.(answer)
  answer.then((said) => event.ports[0].postMessage(said))
})`
const PAGE = `<!doctype html><title>workers</title>
<script type="module">window.homing = await import('/homing/homing.js'); document.documentElement.dataset.ready = 'true'</script>`

let site
let server
let browser
before(async () => {
  site = await serveStatic({ mounts: { '/homing/': join(ROOT, 'dist') }, files: { '/': PAGE, '/worker.js': WORKER, '/service-worker.js': WORKER } })
  server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
  browser = await launchBrowser()
})
after(async () => {
  await browser.close()
  await server.stop()
  await site.close()
})

test('a dedicated worker and a service worker write to the database that the page has open, and sync it', { timeout: 180_000 }, async () => {
  const page = await browser.open(site.url)
  await page.waitForSelector('html[data-ready=true]', { state: 'attached' })
  const seen = await page.evaluate(async ({ sync, token }) => {
    const db = await window.homing.openDatabase({ name: 'shared', sync: { ...sync, getToken: async () => token } })
    const facts = db.collection('facts')
    await facts.insert({ id: 'page' })
    const say = (worker, id) => new Promise((resolve, reject) => {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = ({ data }) => resolve(data)
      worker.onerror = (event) => reject(new Error(event.message ?? 'the worker does not load'))
      worker.postMessage({ id, sync, token }, [port2])
    })
    const dedicated = await say(new Worker('/worker.js', { type: 'module' }), 'worker')
    const { installing, waiting, active } = await navigator.serviceWorker.register('/service-worker.js', { type: 'module' })
    const service = await say(installing ?? waiting ?? active, 'service')
    const all = () => facts.count() === 3
    await new Promise((resolve) => { facts.subscribe(() => { if (all()) resolve() }); if (all()) resolve() })
    return { dedicated, service, page: facts.list().map(({ id }) => id).sort() }
  }, { sync: { url: server.url, auto: false }, token: await server.token('workers') })
  assert.deepEqual(seen.dedicated, { rows: ['page', 'worker'], pending: 0, mode: 'indexeddb' })
  assert.deepEqual(seen.service, { rows: ['page', 'service', 'worker'], pending: 0, mode: 'indexeddb' })
  assert.deepEqual(seen.page, ['page', 'service', 'worker'])
  assert.deepEqual(browser.problems, [])
})
