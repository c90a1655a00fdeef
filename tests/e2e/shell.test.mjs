// The demo page as an app: it opens without a network, from what it kept of itself, and is never older than its server. A token that
// was replaced is asked for again.

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { serveStatic } from '../../scripts/static-server.mjs'
import { ROOT } from '../../scripts/support/environment.mjs'
import { loadFarm, openFakeDemo } from './fake-demo.mjs'

const isReady = (page) => page.waitForSelector('[data-ready=true]', { state: 'attached' })
const isKept = (page) => page.evaluate(() => navigator.serviceWorker.ready.then(() => true))
const syncAll = (page) => page.evaluate(async () => { while ((await window.homing.db.sync()).remaining > 0) { /* the farm goes in several requests */ } })

async function withDemo(work) {
  const demo = await openFakeDemo()
  try {
    await work(demo)
  } finally {
    await demo.close()
  }
}

test('what the page keeps of itself is all there is of it', { timeout: 30_000 }, async () => {
  await withDemo(async ({ open }) => {
    const { page } = await open()
    await isKept(page)
    const kept = await page.evaluate(async () => {
      const [name] = await caches.keys()
      return (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname)
    })
    const files = (await readdir(join(ROOT, 'www'))).filter((name) => !['index.html', 'service-worker.js'].includes(name))
    assert.deepEqual(kept.sort(), ['/', '/homing/egglogu.schema.json', '/homing/homing.js', ...files.map((name) => `/${name}`)].sort())
  })
})

test('without a network the page opens and shows the farm, and writes are kept', { timeout: 90_000 }, async () => {
  await withDemo(async (demo) => {
    const { page, find } = await demo.open()
    await loadFarm({ find })
    await syncAll(page)
    await isKept(page)
    await demo.site.close()
    await demo.server.close()
    await page.reload()
    await isReady(page)
    assert.equal(await find('flock').count(), demo.input.flocks.length)
    const birds = find('flock-count').first()
    await birds.fill('77')
    await birds.press('Enter')
    await page.waitForFunction(() => window.homing.db.collection('flocks').list()[0].count === 77)
    await find('sync-now').click()
    await page.locator('.notice.alarm').getByText('The server is out of reach.').waitFor()
    await page.goto(demo.url)
    await page.frameLocator('[data-testid=frame-a]').locator('[data-testid=flock-count]').first().waitFor()
    assert.equal(await page.frameLocator('[data-testid=frame-a]').locator('[data-testid=flock-count]').first().inputValue(), '77')
  })
})

test('a network that does not answer keeps nobody waiting', { timeout: 60_000 }, async () => {
  await withDemo(async (demo) => {
    const { page, find } = await demo.open()
    await loadFarm({ find })
    await isKept(page)
    const { port } = demo.site
    await demo.site.close()
    const silent = await serveStatic({ port, routes: { '/': () => {} } })
    try {
      const start = performance.now()
      await page.reload()
      await isReady(page)
      const took = performance.now() - start
      assert.equal(await find('flock').count(), demo.input.flocks.length)
      assert.ok(took < 10_000, `it took ${Math.round(took)} ms`)
    } finally {
      await silent.close()
    }
    const rebuilt = await serveStatic({ port, files: { '/': '<!doctype html><title>rebuilt</title>' } })
    try {
      await page.reload()
      assert.equal(await page.title(), 'rebuilt', 'the next visit asks the network again')
    } finally {
      await rebuilt.close()
    }
  })
})

test('a page that was changed is never shown as it was', { timeout: 60_000 }, async () => {
  await withDemo(async (demo) => {
    const { page } = await demo.open()
    await isKept(page)
    const { port } = demo.site
    await demo.site.close()
    const rebuilt = await serveStatic({ port, files: { '/': '<!doctype html><title>rebuilt</title>' } })
    try {
      await page.goto(demo.url)
      assert.equal(await page.title(), 'rebuilt')
    } finally {
      await rebuilt.close()
    }
    await page.reload()
    assert.equal(await page.title(), 'rebuilt', 'the copy is the latest one')
  })
})

test('a config that does not come delays only the first visit', { timeout: 60_000 }, async () => {
  await withDemo(async (demo) => {
    const { page, find } = await demo.open()
    await loadFarm({ find })
    demo.config.current = () => new Promise(() => {})
    await page.reload()
    await isReady(page)
    assert.equal(await find('flock').count(), demo.input.flocks.length)
  })
})

test('a token that was replaced is fetched again, without a reload', { timeout: 60_000 }, async () => {
  await withDemo(async (demo) => {
    const { page, find } = await demo.open()
    let valid = 'token'
    demo.server.answer((asked) => (asked.token === valid ? demo.accept(asked) : { status: 401, body: '{}' }))
    await syncAll(page)
    valid = 'token-2'
    await find('sync-now').click()
    await page.locator('.notice.alarm').getByText('Reload this page.').waitFor()
    assert.match(await find('sync-state').textContent(), /^Sign-in needed/)
    demo.config.current = { ...demo.config.current, token: 'token-2' }
    await find('sync-now').click()
    await page.getByText('Synced with the server.').waitFor()
  })
})
