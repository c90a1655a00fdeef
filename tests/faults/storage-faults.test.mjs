// F12–F15, F18, F25 in a real browser: the connection dies, the database is deleted, newer versions change it, the page goes
// into the back/forward cache, a stored row is unreadable. And how much room is left. What each call of the journal does then, one
// by one: `tests/browser_journal.rs`.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { serveStatic } from '../../scripts/static-server.mjs'
import { ROOT } from '../../scripts/support/environment.mjs'
import { launchBrowser, removeProfile } from '../support/browser.mjs'
import { freeze } from '../support/frozen.mjs'
import { startServer } from '../support/server.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'
import { startChromium } from './chromium-process.mjs'

let site
let server
before(async () => {
  site = await serveBarePage()
  server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
})
after(async () => {
  await server.stop()
  await site.close()
})

/** One database of one page: `work({ page, browser, cdp, name, sync })`; in the page `db`, `facts`, and `heard`, what its events said. */
async function withDatabase(name, work, { problems = [] } = {}) {
  const browser = await launchBrowser()
  try {
    const sync = { url: server.url, auto: false }
    const token = await server.token(name)
    await browser.context.addInitScript(({ name, sync, token }) => {
      window.reopen = async (more = {}) => {
        window.db = await window.homing.openDatabase({ name, sync: { ...sync, getToken: async () => token }, ...more })
        window.facts = window.db.collection('facts')
        window.heard = []
        for (const type of ['storage', 'outdated', 'error']) window.db.addEventListener(type, ({ detail }) => window.heard.push({ type, ...detail, code: detail.code, message: detail.message }))
      }
      window.codeOf = (promise) => Promise.resolve(promise).then(() => 'resolved', (error) => error.code)
      window.hears = (type) => new Promise((resolve) => {
        const look = () => window.heard.some((one) => one.type === type) ? resolve(window.heard.filter((one) => one.type === type)) : setTimeout(look, 5)
        look()
      })
    }, { name, sync, token })
    const page = await whenReady(await browser.open(site.url))
    await page.evaluate(() => window.reopen())
    const cdp = await page.context().newCDPSession(page)
    await work({ page, browser, cdp, stored: `homing:${name}` })
    assert.deepEqual(browser.problems.filter((problem) => !problems.some((expected) => problem.includes(expected))), [])
  } finally {
    await browser.close()
  }
}

test('F12: a connection that dies once is replaced without a word; one that keeps dying is a typed error, and no end', { timeout: 180_000 }, () => withDatabase('f12', async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const real = IDBDatabase.prototype.transaction
    let times = 0
    const dying = (left) => {
      IDBDatabase.prototype.transaction = function die(...args) {
        if (left-- > 0) {
          times += 1
          throw new DOMException('The database connection is closing.', 'InvalidStateError')
        }
        return real.apply(this, args)
      }
    }
    dying(1)
    const once = await window.codeOf(window.facts.insert({ id: 'once' }))
    dying(5)
    times = 0
    const often = await window.codeOf(window.facts.insert({ id: 'often' }))
    const tries = times
    IDBDatabase.prototype.transaction = real
    return { once, often, tries, after: await window.codeOf(window.facts.insert({ id: 'afterwards' })), rows: window.facts.list().map(({ id }) => id) }
  })
  assert.deepEqual({ ...seen, tries: undefined }, { once: 'resolved', often: 'storage-unavailable', after: 'resolved', rows: ['once', 'afterwards'], tries: undefined })
  assert.ok(seen.tries <= 3, `${seen.tries} tries`)
}))

test('F12: a browser that cannot open its store at first is asked again; one that never can is left for another storage, which is said', { timeout: 180_000 }, () => withDatabase('f12-open', async ({ page }) => {
  const seen = await page.evaluate(async () => {
    await window.facts.insert({ id: 'stored' })
    await window.db.close()
    const real = IDBFactory.prototype.open
    let asked = 0
    const refuse = (times) => {
      asked = 0
      IDBFactory.prototype.open = function open(...args) {
        if (++asked > times) return real.apply(this, args)
        const request = { readyState: 'pending', error: null, transaction: null }
        setTimeout(() => {
          request.readyState = 'done'
          request.error = new DOMException('Internal error opening backing store for indexedDB.open.', 'UnknownError')
          request.onerror?.(new Event('error', { cancelable: true }))
        })
        return request
      }
    }
    const open = async () => {
      await window.reopen()
      const { storage } = window.db.status.getSnapshot()
      const rows = window.facts.list().map(({ id }) => id)
      await window.db.close()
      return { mode: storage.mode, rows, asked }
    }
    refuse(3)
    const soon = await open()
    refuse(Infinity)
    const never = await open()
    IDBFactory.prototype.open = real
    return { soon, never, after: (await open()).mode }
  })
  assert.deepEqual([seen.soon.mode, seen.soon.rows, seen.soon.asked >= 4], ['indexeddb', ['stored'], true])
  assert.equal(seen.never.mode === 'indexeddb', false)
  assert.ok(seen.never.asked < 20, `${seen.never.asked} times`)
  assert.equal(seen.after, 'indexeddb')
}))

test('F12, F13: the browser deletes the data of the open page: it is told, once; opened again, the server\'s part comes back', { timeout: 180_000 }, () => withDatabase('f13-open', async ({ page, cdp }) => {
  const client = await page.evaluate(async () => {
    await window.facts.insert({ id: 'sent' })
    await window.db.sync()
    return window.db.clientId
  })
  await cdp.send('Storage.clearDataForOrigin', { origin: site.origin, storageTypes: 'indexeddb' })
  const seen = await page.evaluate(async () => {
    const write = await window.codeOf(window.facts.insert({ id: 'refused' }))
    const told = (await window.hears('storage')).map(({ lost, durable }) => ({ lost, durable }))
    const rows = window.facts.list().map(({ id }) => id)
    await window.db.close()
    await window.reopen()
    const empty = window.facts.count()
    await window.db.sync()
    return { told, write, rows, empty, again: window.facts.list().map(({ id }) => id), client: window.db.clientId, mode: window.db.status.getSnapshot().storage.mode }
  })
  assert.notEqual(seen.client, client)
  assert.deepEqual({ ...seen, client: null }, { told: [{ lost: true, durable: false }], write: 'storage-lost', rows: ['sent'], empty: 0, again: ['sent'], client: null, mode: 'indexeddb' })
}))

test('F13: a database deleted between two sessions is told, and the server\'s part comes back', { timeout: 180_000 }, () => withDatabase('f13-between', async ({ page, cdp }) => {
  await page.evaluate(async () => {
    await window.facts.insert({ id: 'sent' })
    await window.db.sync()
    await window.db.close()
  })
  await cdp.send('Storage.clearDataForOrigin', { origin: site.origin, storageTypes: 'indexeddb' })
  await page.reload()
  await whenReady(page)
  const seen = await page.evaluate(async () => {
    await window.reopen()
    const [{ lost, durable, reason }] = await window.hears('storage')
    await window.db.sync()
    const rows = window.facts.list().map(({ id }) => id)
    await window.db.close()
    // A second time there is nothing to tell.
    await window.reopen()
    await new Promise((resolve) => { setTimeout(resolve, 50) })
    return { lost, durable, told: typeof reason, rows, again: window.heard }
  })
  assert.deepEqual(seen, { lost: true, durable: true, told: 'string', rows: ['sent'], again: [] })
}))

test('F13: another tab logs out: nothing of what was deleted comes back', { timeout: 180_000 }, () => withDatabase('f13-wipe', async ({ page, browser, stored }) => {
  await page.evaluate(() => window.facts.insert({ id: 'private' }))
  const other = await whenReady(await browser.open(site.url))
  await other.evaluate(async () => {
    await window.reopen()
    await window.db.wipe({ discardPending: true })
  })
  const told = await page.evaluate(() => window.hears('storage'))
  assert.equal(told[0].lost, true)
  assert.equal(await page.evaluate(() => window.codeOf(window.facts.insert({ id: 'more' }))), 'storage-lost')
  assert.equal(await other.evaluate(async (name) => (await indexedDB.databases()).some((one) => one.name === name), stored), false)
}))

test('F14, F15: a newer version changes the database: the old page lets go at once, is told, and goes on where it can', { timeout: 180_000 }, () => withDatabase('f14', async ({ page, browser, stored }) => {
  await page.evaluate(() => window.facts.insert({ id: 'before' }))
  const other = await browser.open(site.url)
  const upgrade = (version, format) => other.evaluate(async ({ stored, version, format }) => {
    const started = performance.now()
    let blocked = false
    const db = await new Promise((resolve, reject) => {
      const request = indexedDB.open(stored, version)
      request.onblocked = () => { blocked = true }
      request.onupgradeneeded = () => {
        if (!request.result.objectStoreNames.contains('later')) request.result.createObjectStore('later')
        request.transaction.objectStore('meta').put(format, 'format')
      }
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
    const seen = [...db.objectStoreNames]
    db.close()
    return { blocked, seen, ms: performance.now() - started }
  }, { stored, version, format })

  const additive = await upgrade(2, 2)
  assert.deepEqual({ ...additive, ms: null }, { blocked: false, seen: ['journal', 'later', 'meta', 'segments'], ms: null })
  assert.ok(additive.ms < 1000)
  assert.deepEqual((await page.evaluate(() => window.hears('outdated'))).map(({ reason }) => reason), ['newer-version-in-other-tab'])
  // What was added does not concern it: it opens what is there, whatever its version, and loses nothing of it.
  assert.equal(await page.evaluate(() => window.codeOf(window.facts.insert({ id: 'additive' }))), 'resolved')
  assert.deepEqual((await upgrade(3, 3)).seen, ['journal', 'later', 'meta', 'segments'])
  // A newer format it must not touch: neither where it is open, nor when it is opened.
  const refused = await page.evaluate(async () => {
    const write = await window.codeOf(window.facts.insert({ id: 'refused' }))
    const rows = window.facts.list().map(({ id }) => id)
    await window.db.close()
    return { write, rows, open: await window.codeOf(window.reopen()) }
  })
  assert.deepEqual(refused, { write: 'format-too-new', rows: ['before', 'additive'], open: 'format-too-new' })
}))

test('F14: somebody else\'s connection that does not let go blocks deleting: it is said in time, and goes on when it has', { timeout: 180_000 }, () => withDatabase('f14-stubborn', async ({ page, browser, stored }) => {
  const other = await whenReady(await browser.open(site.url))
  await page.evaluate(async (name) => {
    window.stubborn = await new Promise((resolve) => { indexedDB.open(name).onsuccess = ({ target }) => resolve(target.result) })
  }, stored)
  const seen = await other.evaluate(async () => {
    await window.reopen()
    const started = performance.now()
    const code = await window.codeOf(window.db.wipe({ discardPending: true }))
    return { code, ms: performance.now() - started }
  })
  assert.equal(seen.code, 'blocked')
  assert.ok(seen.ms < 7000, `${seen.ms} ms`)
  await page.evaluate(() => window.stubborn.close())
  await other.waitForFunction(async (name) => !(await indexedDB.databases()).some((one) => one.name === name), stored)
}))

test('F14: a frozen old page keeps nobody from deleting for longer than it sleeps, and knows when it is back', { timeout: 180_000 }, () => withDatabase('f14-frozen', async ({ page, browser, stored }) => {
  const other = await whenReady(await browser.open(site.url))
  await other.evaluate(() => window.reopen())
  const thaw = await freeze(page)
  // It does not hear that it should let go; nobody waits longer than 5 s for it.
  assert.equal(await other.evaluate(() => window.codeOf(window.db.wipe({ discardPending: true }))), 'blocked')
  await thaw()
  assert.equal(await page.evaluate(async () => (await window.hears('storage'))[0].lost), true)
  await other.waitForFunction(async (name) => !(await indexedDB.databases()).some((one) => one.name === name), stored)
}))

test('F25: somebody wrote nonsense into a row: the rest is there, the queue drains, what the server has comes back', { timeout: 180_000 }, () => withDatabase('f25', async ({ page, stored }) => {
  const seen = await page.evaluate(async (stored) => {
    await window.facts.insert({ id: 'sent' })
    await window.db.sync()
    await window.facts.insert({ id: 'lost' })
    await window.facts.insert({ id: 'kept' })
    const client = window.db.clientId
    await window.db.close()
    const raw = await new Promise((resolve) => { indexedDB.open(stored).onsuccess = ({ target }) => resolve(target.result) })
    await new Promise((resolve) => {
      const transaction = raw.transaction('journal', 'readwrite')
      const store = transaction.objectStore('journal')
      store.getAllKeys().onsuccess = ({ target: { result: keys } }) => {
        store.put('nonsense', keys.at(-2))
      }
      transaction.oncomplete = resolve
    })
    raw.close()
    await window.reopen()
    const [{ code }] = await window.hears('error')
    const rows = window.facts.list().map(({ id }) => id)
    await window.db.sync()
    const after = window.facts.list().map(({ id }) => id).sort()
    const { pending } = window.db.status.getSnapshot()
    await window.db.close()
    await window.reopen()
    await new Promise((resolve) => { setTimeout(resolve, 50) })
    return { code, lost: rows.includes('lost'), kept: rows.includes('kept'), after, pending, renamed: window.db.clientId !== client, again: window.heard }
  }, stored)
  assert.deepEqual(seen, { code: 'storage-lost', lost: false, kept: true, after: ['kept', 'sent'], pending: 0, renamed: true, again: [] })
}))

// As where the file of a large value has vanished. Stubbed: no page can make a browser lose one.
test('F25: an index that the browser cannot give back costs what it names, not the database', { timeout: 180_000 }, () => withDatabase('f25-index', async ({ page }) => {
  const seen = await page.evaluate(async () => {
    await window.facts.insert({ id: 'sent' })
    await window.db.sync()
    await window.facts.insert({ id: 'kept' })
    await window.db.close()
    const { get } = IDBObjectStore.prototype
    IDBObjectStore.prototype.get = function (key) {
      const real = get.call(this, key)
      if (key !== 'index') return real
      const lost = { readyState: 'pending', onsuccess: null, onerror: null, error: null, result: undefined }
      real.onsuccess = () => {
        Object.assign(lost, { readyState: 'done', error: new DOMException('its file is gone', 'NotFoundError') })
        lost.onerror?.({ type: 'error', preventDefault() {} })
      }
      return lost
    }
    const opened = await window.codeOf(window.reopen())
    IDBObjectStore.prototype.get = get
    if (opened !== 'resolved') return { opened }
    const [{ code }] = await window.hears('error')
    const kept = window.facts.get('kept') !== undefined
    await window.db.sync()
    const { pending } = window.db.status.getSnapshot()
    const after = window.facts.list().map(({ id }) => id).sort()
    await window.db.close()
    await window.reopen()
    return { opened, code, kept, pending, after, again: window.facts.count() }
  })
  assert.deepEqual(seen, { opened: 'resolved', code: 'storage-lost', kept: true, pending: 0, after: ['kept', 'sent'], again: 2 })
}))

// Chromium reports 10 GiB more than what is used, whatever there is (against fingerprinting): what it says is made up here.
test('room that gets scarce is told before it is gone, and that it is there again', { timeout: 60_000 }, () => withDatabase('room', async ({ page }) => {
  const told = (usage) => page.evaluate(async (usage) => {
    navigator.storage.estimate = async () => ({ usage, quota: 1000 })
    window.heard = []
    await window.db.requestPersistence()
    const [{ lost, durable, usage: used, quota }] = await window.hears('storage')
    return { lost, durable, used, quota, health: window.db.status.getSnapshot().health, shown: window.db.status.getSnapshot().storage.usage }
  }, usage)
  for (const [usage, health] of [[850, 'degraded'], [100, 'ok'], [960, 'critical'], [790, 'ok']]) {
    assert.deepEqual(await told(usage), { lost: false, durable: true, used: usage, quota: 1000, health, shown: usage })
  }
}))

test('a full disk refuses `persist` nothing: what the browser says is what is answered', { timeout: 180_000 }, () => withDatabase('persist', async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const answers = []
    for (const answer of [true, false]) {
      navigator.storage.persist = async () => answer
      navigator.storage.persisted = async () => answer
      answers.push([await window.db.requestPersistence(), window.db.status.getSnapshot().storage.persisted])
    }
    navigator.storage.persist = () => Promise.reject(new TypeError('not here'))
    answers.push([await window.db.requestPersistence(), window.db.status.getSnapshot().storage.persisted])
    return answers
  })
  assert.deepEqual(seen, [[true, true], [false, false], [false, false]])
}))

test('F18: a page with pending work goes into the back/forward cache and comes back: it knows what happened, and writes', { timeout: 180_000 }, async () => {
  const profile = await mkdtemp(join(tmpdir(), 'homing-bfcache-'))
  const reports = []
  let arrived = () => {}
  const listener = createServer((request, response) => {
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      reports.push(JSON.parse(Buffer.concat(chunks)))
      arrived()
    })
    response.writeHead(204, { 'access-control-allow-origin': '*' }).end()
  })
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const said = async (step) => {
    for (;;) {
      const found = reports.find((report) => report.step === step)
      if (found) return found
      await new Promise((resolve) => { arrived = resolve })
    }
  }
  // The pages report by themselves: a driver that evaluates in a page keeps it out of the cache, or loses sight of it.
  const script = (step) => `
    import { openDatabase } from '/homing/homing.js'
    const tell = (report) => fetch('http://127.0.0.1:${listener.address().port}', { method: 'POST', mode: 'no-cors', body: JSON.stringify(report) })
    const [{ type, notRestoredReasons }] = performance.getEntriesByType('navigation')
    if (type === 'back_forward') await tell({ step: 'back', persisted: false, reasons: JSON.stringify(notRestoredReasons) })
    const db = await openDatabase({ name: 'bfcache', sync: { url: 'http://127.0.0.1:9', auto: false } })
    const facts = db.collection('facts')
    ${step === 'first' ? `
    addEventListener('pageshow', async ({ persisted }) => {
      if (!persisted) return
      const seen = await new Promise((resolve) => { const look = () => { if (facts.get('second')) resolve(facts.list().map(({ id }) => id)) }; facts.subscribe(look); look() })
      await facts.insert({ id: 'back' })
      await tell({ step: 'back', persisted, seen, pending: db.queue.list().length })
    })
    await facts.insert({ id: 'first' })
    await tell({ step: 'first' })` : `
    addEventListener('pageshow', () => {})
    await facts.insert({ id: 'second' })
    const held = (await navigator.locks.query()).held.map(({ name }) => name)
    await db.close()
    await tell({ step: 'second', held })
    setTimeout(() => history.back(), 50)`}`
  const html = (step) => `<!doctype html><title>${step}</title><script type="module">${script(step)}</script>`
  const pages = await serveStatic({ mounts: { '/homing/': join(ROOT, 'dist') }, files: { '/': html('first'), '/second.html': html('second') }, headers: { 'cache-control': 'no-cache' } })
  const { context, kill } = await startChromium(profile)
  try {
    const page = await context.newPage()
    await page.goto(pages.url)
    await said('first')
    await page.goto(`${pages.url}second.html`)
    const { held } = await said('second')
    assert.deepEqual(held.filter((name) => name.startsWith('homing:turn')), [], 'nobody who sleeps has the turn')
    const back = await said('back')
    assert.equal(back.persisted, true, back.reasons)
    assert.deepEqual(back.seen, ['first', 'second'], 'it saw what was written while it slept')
    assert.equal(back.pending, 3)
  } finally {
    await kill()
    await pages.close()
    listener.closeAllConnections()
    await new Promise((resolve) => listener.close(resolve))
    await removeProfile(profile)
  }
})
