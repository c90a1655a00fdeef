// Where the browser has no IndexedDB for us: localStorage, else memory, said in the status and by an event, never silently. One tab
// writes. When IndexedDB is back, what was never sent moves there.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { startServer } from '../support/server.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

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

// Runs in every page: as where a browser forbids storage to a frame.
function forbid(names) {
  for (const name of names) Object.defineProperty(window, name, { configurable: true, get() { throw new DOMException('denied', 'SecurityError') } })
}

/** `open(forbidden)`: a page where these are forbidden; in it `reopen()`. */
async function withBrowser(name, work) {
  const browser = await launchBrowser()
  try {
    const sync = { url: server.url, auto: false }
    const token = await server.token(name)
    const open = async (forbidden) => {
      const page = await browser.context.newPage()
      await page.addInitScript(forbid, forbidden)
      await page.goto(site.url)
      await whenReady(page)
      await page.evaluate(({ name, sync, token }) => {
        window.reopen = async (more = {}) => {
          window.db = await window.homing.openDatabase({ name, sync: { ...sync, getToken: async () => token }, ...more })
          window.facts = window.db.collection('facts')
          window.heard = []
          window.db.addEventListener('storage', ({ detail }) => window.heard.push(detail))
        }
        window.codeOf = (promise) => Promise.resolve(promise).then(() => 'resolved', (error) => error.code)
        window.ids = () => window.facts.list().map(({ id }) => id)
      }, { name, sync, token })
      return page
    }
    await work(open)
    assert.deepEqual(browser.problems, [])
  } finally {
    await browser.close()
  }
}

test('without IndexedDB the data is in localStorage, outlives the page, and is said to be there', { timeout: 180_000 }, () => withBrowser('local', async (open) => {
  const page = await open(['indexedDB'])
  const seen = await page.evaluate(async () => {
    await window.reopen()
    const { mode, durable, reason } = window.db.status.getSnapshot().storage
    await window.facts.insert({ id: 'kept' })
    await new Promise((resolve) => { setTimeout(resolve) })
    return { mode, durable, reason: /SecurityError/.test(reason), heard: window.heard.map((one) => [one.mode, one.lost]), insisted: await window.codeOf(window.homing.openDatabase({ name: 'insists', storage: 'indexeddb' })) }
  })
  assert.deepEqual(seen, { mode: 'localstorage', durable: true, reason: true, heard: [['localstorage', false]], insisted: 'storage-unavailable' })
  await page.close()
  const again = await open(['indexedDB'])
  assert.deepEqual(await again.evaluate(async () => {
    await window.reopen()
    await window.db.sync()
    return [window.ids(), window.db.status.getSnapshot().pending, (await window.homing.listDatabases()).map(({ name, pending }) => [name, pending])]
  }), [['kept'], 0, [['local', 0]]])
  assert.equal(await again.evaluate(async () => {
    await window.db.wipe()
    return Object.keys(localStorage).filter((key) => key.startsWith('homing:local')).length
  }), 0)
}))

test('in localStorage one tab writes and the others read, until it is their turn', { timeout: 180_000 }, () => withBrowser('pen', async (open) => {
  const [writer, reader] = [await open(['indexedDB']), await open(['indexedDB'])]
  await writer.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'one' })
  })
  assert.deepEqual(await reader.evaluate(async () => {
    await window.reopen()
    return [window.ids(), await window.codeOf(window.facts.insert({ id: 'refused' })), window.ids()]
  }), [['one'], 'blocked', ['one']])
  await writer.evaluate(() => window.facts.insert({ id: 'two' }))
  await reader.waitForFunction(() => window.ids().includes('two'))
  await writer.close()
  await reader.waitForFunction(async () => await window.codeOf(window.facts.insert({ id: `three-${Math.random()}` })) === 'resolved')
}))

test('what was never sent moves to IndexedDB when the browser has it again, once, under the ids it had', { timeout: 180_000 }, () => withBrowser('back', async (open) => {
  const local = await open(['indexedDB'])
  const before = await local.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'sent' })
    await window.db.sync()
    await window.facts.insert({ id: 'unsent' })
    await window.facts.update('sent', { edited: true })
    return window.db.queue.list().map(({ id }) => id)
  })
  await local.close()
  const page = await open([])
  const seen = await page.evaluate(async () => {
    await window.reopen()
    const { mode } = window.db.status.getSnapshot().storage
    const queue = window.db.queue.list().map(({ id }) => id)
    await window.db.sync()
    const rows = window.facts.list().map(({ id, edited }) => [id, edited ?? false]).sort()
    return { mode, queue, rows, pending: window.db.status.getSnapshot().pending, conflicts: window.db.conflicts.list().length, left: Object.keys(localStorage).filter((key) => key.startsWith('homing:back|')).length, lost: window.heard.map((one) => one.lost) }
  })
  assert.deepEqual(seen, { mode: 'indexeddb', queue: before, rows: [['sent', true], ['unsent', false]], pending: 0, conflicts: 0, left: 0, lost: [] })
}))

test('it moves, too, for an engine in a worker, which has no localStorage; nothing is said to be lost', { timeout: 180_000 }, () => withBrowser('worker', async (open) => {
  const local = await open(['indexedDB'])
  const before = await local.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'unsent' })
    await window.db.close()
    await window.reopen({ scope: 'guest' })
    await window.facts.insert({ id: 'guests' })
    return window.db.queue.list().length
  })
  await local.close()
  const page = await open([])
  const seen = await page.evaluate(async () => {
    const left = () => Object.keys(localStorage).filter((key) => key.startsWith('homing:worker')).length
    const there = left() > 0
    await window.reopen({ worker: true, adoptScope: 'guest' })
    await new Promise((resolve) => { setTimeout(resolve) })
    const out = { there, queue: window.db.queue.list().map(({ recordId }) => recordId).sort(), left: left(), mode: window.db.status.getSnapshot().storage.mode, lost: window.heard.map((one) => one.lost) }
    await window.db.sync()
    out.pending = window.db.status.getSnapshot().pending
    await window.db.wipe()
    return { ...out, wiped: left() }
  })
  assert.equal(before, 1)
  assert.deepEqual(seen, { there: true, queue: ['guests', 'unsent'], left: 0, mode: 'indexeddb', lost: [], pending: 0, wiped: 0 })
}))

test('a tab that still writes to localStorage when the work moves is refused, and what it wrote before has moved', { timeout: 180_000 }, () => withBrowser('moving', async (open) => {
  const local = await open(['indexedDB'])
  await local.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'early' })
  })
  const page = await open([])
  assert.deepEqual(await page.evaluate(async () => {
    await window.reopen()
    return window.ids()
  }), ['early'])
  // Not "durable" where nobody will read it.
  assert.equal(await local.evaluate(() => window.codeOf(window.facts.insert({ id: 'late' }))), 'storage-lost')
  assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('homing:moving|')).length), 0)
}))

test('a copy in localStorage beside the one in IndexedDB is counted, taken over, and deleted with it', { timeout: 180_000 }, () => withBrowser('both', async (open) => {
  const page = await open([])
  await page.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'in-indexeddb' })
    await window.db.close()
  })
  const write = async () => {
    const local = await open(['indexedDB'])
    await local.evaluate(async () => {
      await window.reopen()
      await window.facts.insert({ id: 'in-localstorage' })
      await window.db.close()
    })
    await local.close()
  }
  await write()
  const seen = await page.evaluate(async () => {
    const left = () => Object.keys(localStorage).filter((key) => key.startsWith('homing:both|')).length
    const listed = async () => (await window.homing.listDatabases()).filter(({ name, scope }) => name === 'both' && scope === '').map(({ pending }) => pending)
    const before = await listed()
    await window.reopen({ scope: 'user', adoptScope: '' })
    const ids = window.ids().sort()
    while ((await listed()).length > 0) await new Promise((resolve) => { setTimeout(resolve, 10) })
    await window.db.wipe({ discardPending: true })
    return { before, ids, left: left() }
  })
  assert.deepEqual(seen, { before: [2], ids: ['in-indexeddb', 'in-localstorage'], left: 0 })
  await page.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'in-indexeddb' })
    await window.db.close()
  })
  await write()
  assert.deepEqual(await page.evaluate(async () => {
    await window.homing.deleteDatabase({ name: 'both', scope: '', discardPending: true })
    return [await window.homing.listDatabases(), Object.keys(localStorage).filter((key) => key.startsWith('homing:both|'))]
  }), [[], []])
}))

test('where IndexedDB fails for the moment, nobody says that all is counted or deleted', { timeout: 180_000 }, () => withBrowser('unseen', async (open) => {
  const page = await open([])
  await page.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'private' })
    await window.db.close()
  })
  const failing = await open([])
  const seen = await failing.evaluate(async () => {
    IDBFactory.prototype.open = () => { throw new DOMException('not now', 'InvalidStateError') }
    await window.reopen()
    await window.facts.insert({ id: 'also' })
    await window.db.close()
    const left = () => Object.keys(localStorage).filter((key) => key.startsWith('homing:unseen|')).length
    const listed = await window.codeOf(window.homing.listDatabases())
    const refused = await window.codeOf(window.homing.deleteDatabase({ name: 'unseen', scope: '' }))
    const before = left()
    const deleted = await window.codeOf(window.homing.deleteDatabase({ name: 'unseen', scope: '', discardPending: true }))
    return { listed, refused, kept: before > 0, deleted, left: left() }
  })
  assert.deepEqual(seen, { listed: 'storage-unavailable', refused: 'storage-unavailable', kept: true, deleted: 'storage-unavailable', left: 0 })
  assert.deepEqual(await page.evaluate(async () => (await window.homing.listDatabases()).map(({ name, pending }) => ({ name, pending }))), [{ name: 'unseen', pending: 1 }])
}))

test('of two pages that log in at once the one that is late opens too: the other one moves the guest\'s work', { timeout: 180_000 }, () => withBrowser('twice', async (open) => {
  const local = await open(['indexedDB'])
  await local.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'guest' })
    await window.db.close()
  })
  await local.close()
  const page = await open([])
  assert.deepEqual(await page.evaluate(async () => {
    const marks = 'homing:twice|marks'
    const { getItem } = Storage.prototype
    // Whoever looks finds that somebody else has claimed it since the look before.
    Storage.prototype.getItem = function (key) {
      const value = getItem.call(this, key)
      if (key === marks && value !== null) this.setItem(key, JSON.stringify({ ...JSON.parse(value), incarnation: crypto.randomUUID() }))
      return value
    }
    const late = await window.codeOf(window.reopen({ scope: 'user', adoptScope: '' }))
    const left = localStorage.getItem(marks) !== null
    Storage.prototype.getItem = getItem
    await window.db?.close()
    // The other page never came to it: the next log-in does.
    await window.reopen({ scope: 'user', adoptScope: '' })
    return { late, left, ids: window.ids() }
  }), { late: 'resolved', left: true, ids: ['guest'] })
}))

test('without both there is memory: it works, and says that it will not last', { timeout: 180_000 }, () => withBrowser('memory', async (open) => {
  const page = await open(['indexedDB', 'localStorage'])
  assert.deepEqual(await page.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'fleeting' })
    await window.db.sync()
    const { mode, durable } = window.db.status.getSnapshot().storage
    return { mode, durable, ids: window.ids(), pending: window.db.status.getSnapshot().pending, heard: window.heard.map((one) => one.mode) }
  }), { mode: 'memory', durable: false, ids: ['fleeting'], pending: 0, heard: ['memory'] })
}))

/** A copy in IndexedDB that `work` fills, then a wipe by a session that cannot reach it. */
async function wipedElsewhere(open, { work = async () => {}, wipe = {}, more = {} } = {}) {
  const page = await open([])
  await page.evaluate(async (more) => {
    await window.reopen(more)
    await window.facts.insert({ id: 'secret' })
    await window.db.sync()
  }, more)
  await work(page)
  await page.evaluate(() => window.db.close())
  await page.close()
  const local = await open(['indexedDB'])
  assert.deepEqual(await local.evaluate(async ({ wipe, more }) => {
    await window.reopen(more)
    await window.facts.insert({ id: 'local' })
    const refused = await window.codeOf(window.db.wipe())
    const noted = Object.keys(localStorage).filter((key) => key.startsWith('homing:wiped:')).length
    await window.db.sync()
    await window.db.wipe(wipe)
    return [refused, noted]
  }, { wipe, more }), ['pending-work', 0], 'what is refused is not noted')
  await local.close()
}

test('what was wiped while there was no IndexedDB does not come back with it, in a page or in a worker', { timeout: 180_000 }, () => withBrowser('wiped', async (open) => {
  for (const worker of [false, true]) {
    await wipedElsewhere(open)
    const page = await open([])
    const seen = await page.evaluate(async (worker) => {
      const marks = () => Object.entries(localStorage).filter(([key]) => key.startsWith('homing:wiped:'))
      const noted = marks()
      const listed = worker ? [] : await window.homing.listDatabases()
      await window.reopen({ worker })
      await new Promise((resolve) => { setTimeout(resolve) })
      const out = { noted: noted.length, listed, ids: window.ids(), mode: window.db.status.getSnapshot().storage.mode, lost: window.heard, left: marks().length }
      await window.facts.insert({ id: 'later' })
      await window.db.close()
      // A browser that is killed may have the mark again, for it writes its localStorage when it comes to it.
      for (const [key, value] of noted) localStorage.setItem(key, value)
      await window.reopen({ worker })
      out.kept = window.ids()
      await window.db.wipe({ discardPending: true })
      return { ...out, end: marks().length }
    }, worker)
    assert.deepEqual(seen, { noted: 1, listed: [], ids: [], mode: 'indexeddb', lost: [], left: 0, kept: ['later'], end: 0 }, worker ? 'in a worker' : 'in a page')
    await page.close()
  }
}))

test('a wipe that would have been refused for unsent work does not delete what it could not see of that; one that would not does', { timeout: 180_000 }, () => withBrowser('unsent', async (open) => {
  const work = (page) => page.evaluate(() => window.facts.insert({ id: 'unsent' }))
  for (const [wipe, ids] of [[{}, ['secret', 'unsent']], [{ discardPending: true }, []]]) {
    await wipedElsewhere(open, { work, wipe })
    const page = await open([])
    assert.deepEqual(await page.evaluate(async () => {
      await window.reopen()
      const ids = window.ids().sort()
      await window.db.wipe({ discardPending: true })
      return ids
    }), ids)
    await page.close()
  }
}))

test('who logs in takes over nothing of a guest that was wiped, and a deletion without IndexedDB is finished with it, too', { timeout: 180_000 }, () => withBrowser('guest', async (open) => {
  const work = (page) => page.evaluate(() => window.facts.insert({ id: 'unsent' }))
  await wipedElsewhere(open, { work, wipe: { discardPending: true } })
  const page = await open([])
  assert.deepEqual(await page.evaluate(async () => {
    await window.reopen({ scope: 'user', adoptScope: '' })
    const ids = window.ids()
    await window.db.close()
    await window.reopen()
    await window.facts.insert({ id: 'again' })
    await window.db.close()
    return ids
  }), [])
  const local = await open(['indexedDB'])
  await local.evaluate(async () => {
    await window.reopen()
    await window.db.close()
    await window.homing.deleteDatabase({ name: 'guest', discardPending: true })
  })
  assert.deepEqual(await page.evaluate(async () => {
    await window.reopen()
    return window.ids()
  }), [])
}))

test('nothing is written to localStorage while it is moved, also by a tab that has not heard of that yet', { timeout: 180_000 }, () => withBrowser('behind', async (open) => {
  const local = await open(['indexedDB'])
  await local.evaluate(async () => {
    await window.reopen()
    await window.facts.insert({ id: 'early' })
    // A browser tells other processes of items when it comes to it: this one goes on seeing its own until all are gone.
    const { getItem, setItem } = Storage.prototype
    const known = new Map(Object.entries(localStorage))
    Storage.prototype.getItem = function (key) { return known.get(key) ?? getItem.call(this, key) }
    Storage.prototype.setItem = function (key, value) {
      known.set(key, value)
      setItem.call(this, key, value)
    }
    window.addEventListener('storage', ({ key, newValue }) => { if (key === 'homing:behind|marks' && newValue === null) Object.assign(Storage.prototype, { getItem, setItem }) })
    window.written = []
    window.ended = (async () => {
      for (let n = 0; ; n++) {
        const code = await window.codeOf(window.facts.insert({ id: `n${n}` }))
        if (code !== 'resolved') return code
        window.written.push(`n${n}`)
        await new Promise((resolve) => { setTimeout(resolve, 2) })
      }
    })()
  })
  const page = await open([])
  await local.waitForFunction(() => window.written.length > 5)
  const ids = await page.evaluate(async () => {
    // As on a slow disk.
    const { put, add } = IDBObjectStore.prototype
    for (const [name, real] of Object.entries({ put, add })) {
      IDBObjectStore.prototype[name] = function (...args) {
        for (const until = performance.now() + 100; performance.now() < until;);
        return real.apply(this, args)
      }
    }
    await window.reopen()
    return window.ids()
  })
  const [written, ended] = await local.evaluate(async () => [window.written, await window.ended])
  assert.ok(['blocked', 'storage-lost'].includes(ended), ended)
  assert.deepEqual(written.filter((id) => !ids.includes(id)), [], 'durable, and nowhere')
}))

test('a tab that does not hear that its work is moved is not waited for for ever, and one in the line does not take the pen meanwhile', { timeout: 180_000 }, () => withBrowser('deaf', async (open) => {
  const [local, reader] = [await open(['indexedDB']), await open(['indexedDB'])]
  await local.evaluate(async () => {
    window.BroadcastChannel = class extends EventTarget { postMessage() {} close() {} }
    await window.reopen()
    await window.facts.insert({ id: 'early' })
  })
  await reader.evaluate(() => window.reopen())
  const page = await open([])
  assert.deepEqual(await page.evaluate(async () => {
    await window.reopen()
    return window.ids()
  }), ['early'])
  for (const tab of [local, reader]) assert.equal(await tab.evaluate(() => window.codeOf(window.facts.insert({ id: 'late' }))), 'storage-lost')
  assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('homing:deaf|')).length), 0)
  // Nor does the pen stay with who has moved it.
  assert.equal(await page.evaluate(() => navigator.locks.query().then(({ held }) => held.filter(({ name }) => name.startsWith('homing:pen:["deaf"') || name === 'homing:wipe').length)), 0)
}))
