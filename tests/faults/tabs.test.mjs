// F16, F17, F19: many tabs on one database, one of them frozen, one killed, without locks. Nothing is lost, one at a time sends,
// and whoever sleeps, dies or knows no locks harms nobody. Between the tabs and the real server stands a relay that counts.

import assert from 'node:assert/strict'
import { createServer, request as ask } from 'node:http'
import { after, before, test } from 'node:test'
import { readSql } from '../e2e/sql.mjs'
import { launchBrowser } from '../support/browser.mjs'
import { freeze } from '../support/frozen.mjs'
import { startServer } from '../support/server.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

const RECORDS = 100
const SECONDS = Number(process.env.TABS_SECONDS ?? 10)

let site
let server
let relay
before(async () => {
  site = await serveBarePage()
  server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
  relay = await startRelay(server.url)
})
after(async () => {
  await relay.close()
  await server.stop()
  await site.close()
})

test(`F16, F17: 5 tabs write the same ${RECORDS} records and sync for ${SECONDS} s, one is frozen, one is killed`, { timeout: 240_000 }, withTabs('f16', 5, async ({ tabs, open }, t) => {
  const [first, second, frozen, killed] = tabs
  await first.evaluate(async (count) => {
    await window.facts.insertMany(Array.from({ length: count }, (_, n) => ({ id: `r${n}`, by: {} })))
    await window.db.sync()
  }, RECORDS)
  relay.reset()
  for (const [n, tab] of tabs.entries()) await tab.evaluate(writeOn, { tab: `t${n}`, count: RECORDS })
  await pause(SECONDS * 300)
  const thaw = await freeze(frozen)
  const last = await killed.evaluate(() => ({ ...window.written }))
  const crash = await killed.context().newCDPSession(killed)
  crash.send('Page.crash').catch(() => {})
  await pause(SECONDS * 700)
  await thaw()
  const alive = tabs.filter((tab) => tab !== killed)
  const written = Object.assign({}, ...await Promise.all(alive.map((tab) => tab.evaluate(stopWriting))))
  const counts = relay.counts({ killed: tabs.indexOf(killed) })
  for (const tab of [first, second]) await tab.evaluate(() => window.db.sync())
  const shown = []
  for (const tab of alive) shown.push(await tab.evaluate(async () => {
    await window.db.sync()
    return JSON.stringify(window.facts.list())
  }))
  for (const text of shown.slice(1)) assert.equal(text, shown[0], 'all tabs show the same')
  const rows = new Map(JSON.parse(shown[0]).map((row) => [row.id, row]))
  assert.equal(rows.size, RECORDS)
  for (const [key, n] of Object.entries(written)) {
    const [id, tab] = key.split(' ')
    assert.equal(rows.get(id)[tab], n, `${key}: the last write of that tab that had resolved`)
  }
  // Of the killed one more may have been durable than it could say.
  for (const [key, n] of Object.entries(last)) {
    const [id, tab] = key.split(' ')
    assert.ok(rows.get(id)[tab] >= n, `${key} of the killed tab`)
  }
  // Another device gets from the server what all tabs show.
  const other = await open()
  const same = await other.evaluate(async () => {
    await window.db.sync()
    return JSON.stringify(window.facts.list().map((row) => [row.id, row]).sort())
  })
  assert.equal(same, JSON.stringify([...rows].sort()))
  assert.equal(counts.most, 1, `${counts.most} pushes at once`)
  assert.ok(counts.pushes > 10, `${counts.pushes} pushes`)
  t.diagnostic(`${Object.values(written).reduce((sum, n) => sum + n, 0)} writes had resolved; ${counts.pushes} pushes with ${counts.mutations} mutations, at most ${counts.most} at once`)
}))

test('F17: the tab that is sending freezes: another one sends before long; the late answer harms nobody', { timeout: 180_000 }, withTabs('f17', 2, async ({ tabs }) => {
  const [sender, other] = tabs
  relay.reset()
  const held = relay.holdNext()
  await sender.evaluate(async () => {
    await window.facts.insert({ id: 'held' })
    window.syncing = window.db.sync().then(() => 'done', (error) => error.code)
  })
  const release = await held
  const thaw = await freeze(sender)
  const seen = await other.evaluate(async () => {
    await window.facts.insert({ id: 'other' })
    const started = performance.now()
    await window.db.sync()
    return { ms: performance.now() - started, pending: window.db.status.getSnapshot().pending }
  })
  assert.equal(seen.pending, 0)
  assert.ok(seen.ms < 10_000, `${Math.round(seen.ms)} ms`)
  release()
  await thaw()
  const late = await sender.evaluate(async () => {
    const outcome = await window.syncing
    await window.db.sync()
    return { outcome, rows: window.facts.list().map(({ id }) => id), pending: window.db.status.getSnapshot().pending, dead: window.db.deadLetters.list().length }
  })
  assert.deepEqual(late, { outcome: 'done', rows: ['held', 'other'], pending: 0, dead: 0 })
  await assertOnce('f17', ['held', 'other'])
}))

for (const worker of [false, true]) test(`F17: a tab that slept through its turn sends nothing before it has it again${worker ? ', in worker mode' : ''}`, { timeout: 180_000 }, withTabs(`f17-slept-${worker}`, 2, async ({ tabs }) => {
  const [sleeper, other] = tabs
  const ids = Array.from({ length: 2000 }, (_, n) => `n${n}`)
  relay.reset()
  const first = relay.holdNext()
  await sleeper.evaluate(async (ids) => {
    await window.db.sync()
    await window.facts.insertMany(ids.map((id) => ({ id })))
    window.syncing = window.db.sync().then(() => 'done', (error) => error.code)
  }, ids)
  const answerSleeper = await first
  const thaw = await freeze(sleeper)
  const second = relay.holdNext()
  await other.evaluate(() => { window.syncing = window.db.sync().then(() => 'done', (error) => error.code) })
  const answerOther = await second
  assert.deepEqual(relay.tabs(), [0, 1])
  answerSleeper()
  await thaw()
  const isWaiting = () => other.evaluate(async () => (await navigator.locks.query()).pending.some(({ name }) => name.startsWith('homing:turn:')))
  while (relay.tabs().length === 2 && !await isWaiting()) await pause(5)
  assert.deepEqual(relay.tabs(), [0, 1], 'it waits for its turn')
  answerOther()
  for (const tab of tabs) {
    assert.equal(await tab.evaluate(() => window.syncing), 'done')
    assert.equal(await tab.evaluate(() => window.db.status.getSnapshot().pending), 0)
  }
  await assertOnce(`f17-slept-${worker}`, ids)
}, { worker }))

test('F17: the tab that is sending is killed: the turn is free at once', { timeout: 180_000 }, withTabs('f17-killed', 2, async ({ tabs }) => {
  const [sender, other] = tabs
  const held = relay.holdNext()
  await sender.evaluate(async () => {
    await window.facts.insert({ id: 'held' })
    void window.db.sync().catch(() => {})
  })
  const release = await held
  await sender.close({ runBeforeUnload: false })
  const ms = await other.evaluate(async () => {
    await window.facts.insert({ id: 'other' })
    const started = performance.now()
    await window.db.sync()
    return performance.now() - started
  })
  release()
  assert.ok(ms < 4000, `${Math.round(ms)} ms`)
  await assertOnce('f17-killed', ['held', 'other'])
}))

test('a tab that waited for its turn asks from where the other one came to', { timeout: 180_000 }, withTabs('turns', 2, async ({ tabs, open }) => {
  const [first, second] = tabs
  for (const tab of tabs) await tab.evaluate(() => window.db.sync())
  await (await open()).evaluate(async () => {
    await window.facts.insert({ id: 'far' })
    await window.db.sync()
  })
  const held = relay.holdNext()
  await first.evaluate(async () => {
    await window.facts.insert({ id: 'near' })
    window.syncing = window.db.sync().then(({ pulled }) => pulled)
  })
  const release = await held
  await second.evaluate(async () => {
    window.syncing = window.db.sync().then(({ pulled }) => pulled)
    while ((await navigator.locks.query()).pending.length === 0);
  })
  release()
  const [one, other] = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.syncing)))
  assert.ok(one > 0)
  assert.equal(other, 0, 'nothing comes twice')
  assert.deepEqual(await second.evaluate(() => window.facts.list().map(({ id }) => id).sort()), ['far', 'near'])
}, { without: () => { delete window.BroadcastChannel } }))

test('F2: a renderer crashes in the middle of writing: other tabs have what it was told is durable, and write on', { timeout: 180_000 }, withTabs('f2', 2, async ({ tabs }) => {
  const [crashing, other] = tabs
  const told = []
  await crashing.exposeFunction('told', (id) => told.push(id))
  await crashing.evaluate(() => {
    void (async () => {
      for (let n = 0; ; n += 1) {
        await Promise.all(Array.from({ length: 5 }, async (_, k) => window.told((await window.facts.insert({ id: `c${n}-${k}` })).id)))
      }
    })()
  })
  while (told.length < 50) await pause(5)
  const cdp = await crashing.context().newCDPSession(crashing)
  cdp.send('Page.crash').catch(() => {})
  await new Promise((resolve) => crashing.once('crash', resolve))
  const seen = await other.evaluate(async () => {
    await window.facts.insert({ id: 'after' })
    const rows = window.facts.list().map(({ id }) => id)
    await window.db.sync()
    return { rows, queue: window.db.queue.list().length }
  })
  for (const id of told) assert.ok(seen.rows.includes(id), `${id} was durable`)
  assert.ok(seen.rows.includes('after'))
  assert.equal(seen.queue, 0)
  await assertOnce('f2', seen.rows)
}))

test('F3: the browser dies after the server applied a push and before its answer came: nothing happens twice', { timeout: 180_000 }, withTabs('f3', 2, async ({ tabs }) => {
  const [sender, other] = tabs
  const held = relay.holdNext()
  await sender.evaluate(async () => {
    await window.facts.insert({ id: 'applied' })
    void window.db.sync().catch(() => {})
  })
  await held // the server has answered the relay, which keeps the answer to itself
  const cdp = await sender.context().newCDPSession(sender)
  cdp.send('Page.crash').catch(() => {})
  await new Promise((resolve) => sender.once('crash', resolve))
  await other.evaluate(() => window.db.sync())
  assert.equal(await other.evaluate(() => window.db.status.getSnapshot().pending), 0)
  await assertOnce('f3', ['applied'])
}))

test('F19: without Web Locks, BroadcastChannel, persist and randomUUID two tabs write and sync, each write once', { timeout: 180_000 }, withTabs('f19', 2, async ({ tabs }) => {
  const [one] = tabs
  assert.deepEqual(await one.evaluate(() => [typeof navigator.locks, typeof BroadcastChannel, typeof navigator.storage.persist, typeof crypto.randomUUID]), Array(4).fill('undefined'))
  await assertEachOnce('f19', tabs)
  assert.equal(await one.evaluate(() => window.db.requestPersistence()), false)
}, {
  without: () => {
    for (const [owner, name] of [[Navigator.prototype, 'locks'], [window, 'BroadcastChannel'], [StorageManager.prototype, 'persist'], [Crypto.prototype, 'randomUUID']]) {
      Object.defineProperty(owner, name, { configurable: true, value: undefined })
    }
  },
}))

test('F19: where the browser refuses a BroadcastChannel two tabs write and sync, each write once', { timeout: 180_000 }, withTabs('f19-refused', 2, async ({ tabs }) => {
  await assertEachOnce('f19-refused', tabs)
  assert.ok(await tabs[0].evaluate(() => window.refused) > 0)
}, {
  without: () => {
    window.refused = 0
    window.BroadcastChannel = class {
      constructor() {
        window.refused += 1
        throw new DOMException('The operation is insecure.', 'SecurityError')
      }
    }
  },
}))

/** Two tabs write and sync at once: everything is there, and once. */
async function assertEachOnce(name, tabs) {
  const ids = (await Promise.all(tabs.map((tab, n) => tab.evaluate(async (n) => {
    const ids = []
    for (let k = 0; k < 20; k += 1) {
      ids.push((await window.facts.insert({ id: `t${n}-${k}` })).id)
      if (k % 5 === 0) await window.db.sync()
    }
    await window.db.sync()
    return ids
  }, n)))).flat()
  await tabs[0].evaluate(() => window.db.sync())
  await assertOnce(name, ids)
}

/** Opens the database `name` in so many tabs of one browser; `open` is another device. */
function withTabs(name, count, work, { without, worker = false } = {}) {
  return async (t) => {
    const browser = await launchBrowser()
    const others = []
    try {
      const token = await server.token(name)
      if (without !== undefined) await browser.context.addInitScript(without)
      const openIn = async (context, n = count) => {
        const page = await whenReady(await context.open(site.url))
        await page.evaluate(async ({ name, url, token, worker }) => {
          window.db = await window.homing.openDatabase({ name, worker, sync: { url, debounce: 50, auto: false, getToken: async () => token } })
          window.facts = window.db.collection('facts')
        }, { name, url: `${relay.url}/t${n}/api/v1/sync/delta`, token, worker })
        return page
      }
      const tabs = []
      for (let n = 0; n < count; n += 1) tabs.push(await openIn(browser, n))
      const open = async () => {
        const other = await launchBrowser()
        others.push(other)
        return openIn(other)
      }
      await work({ tabs, open }, t)
    } finally {
      for (const other of others) await other.close()
      await browser.close()
    }
  }
}

/** The server has exactly these, and gave a number for each, none for a repetition. */
async function assertOnce(scope, ids) {
  const rows = await readSql(server.database, `select id, rev from rows where scope = '${scope}'`)
  assert.deepEqual(rows.map(({ id }) => id).sort(), [...ids].sort())
  const revs = rows.map(({ rev }) => Number(rev))
  assert.equal(Math.max(...revs) - Math.min(...revs) + 1, ids.length, 'each took effect once')
}

/**
 * Passes requests on and notes pushes, of which tab and from when to when. `holdNext`: the next push is applied, its answer kept until
 * released.
 */
async function startRelay(target) {
  let pushes = []
  let holding = null
  const relay = createServer((request, response) => {
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      const body = Buffer.concat(chunks)
      const [, tab, path] = /^(?:\/t(\d+))?(\/.*)$/.exec(request.url)
      const count = request.method === 'POST' && !request.headers['content-encoding'] ? JSON.parse(body).mutations?.length ?? 0 : Number(request.method === 'POST')
      const push = { tab: Number(tab), mutations: count, from: performance.now(), until: Infinity }
      if (count > 0) pushes.push(push)
      const hold = count > 0 ? holding : null
      if (hold !== null) holding = null
      const over = () => { push.until = performance.now() }
      const passed = ask(new URL(path, target), { method: request.method, headers: { ...request.headers, host: new URL(target).host } }, (answer) => {
        const parts = []
        answer.on('data', (part) => parts.push(part)).on('end', async () => {
          over()
          if (hold !== null) await hold()
          response.writeHead(answer.statusCode, answer.headers).end(Buffer.concat(parts))
        })
      })
      passed.on('error', () => { over(); response.destroy() })
      passed.end(body)
    })
    response.on('error', () => {})
  })
  await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${relay.address().port}`,
    reset: () => { pushes = [] },
    /** Of which tab each push was. */
    tabs: () => pushes.map(({ tab }) => tab),
    /** A tab that was killed may have left a push under way: its last one is not counted among those at once. */
    counts({ killed }) {
      const left = pushes.findLast(({ tab }) => tab === killed)
      const others = pushes.filter((push) => push !== left)
      const most = Math.max(...others.map(({ from }) => others.filter((other) => other.from <= from && from < other.until).length))
      return { most, pushes: pushes.length, mutations: pushes.reduce((sum, push) => sum + push.mutations, 0) }
    },
    /** Resolves, when the answer is there and kept, to the function that lets it go. */
    holdNext: () => new Promise((resolve) => { holding = () => new Promise((release) => resolve(release)) }),
    async close() {
      relay.closeAllConnections()
      await new Promise((resolve) => relay.close(resolve))
    },
  }
}

function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}

// Runs in the page, and goes on: a field of its own in every record, again and again.
function writeOn({ tab, count }) {
  window.written = {}
  window.writing = (async () => {
    for (let n = 1; !window.stopped; n += 1) {
      const id = `r${(n * 7) % count}`
      await window.facts.update(id, { [tab]: n })
      window.written[`${id} ${tab}`] = n
      if (n % 20 === 0) await window.db.sync().catch(() => {})
    }
  })()
}

// Runs in the page.
async function stopWriting() {
  window.stopped = true
  await window.writing
  return window.written
}
