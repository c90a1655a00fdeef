// Invariant 5 for the functions an app gives: `getToken`, `headers`, `transport`. What they answer after `close()` or `wipe()` changes
// nothing, and no request of that session leaves any more. Requests that are on their way: tests/faults_native/sessions.rs.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { answerPage, startFakeServer } from '../support/fake-server.mjs'
import { openSite } from './page.mjs'

let server
let site
let page

before(async () => {
  server = await startFakeServer()
  site = await openSite()
  page = await site.open()
})
after(async () => {
  await site.close()
  await server.close()
})

/** A session ends while the app's function `kind` has not answered; it answers when the next session of that database is open. */
function answersLate(kind, end) {
  return page.evaluate(async ({ kind, end, url, answer }) => {
    const later = () => {
      const it = {}
      it.done = new Promise((resolve) => { it.resolve = resolve })
      return it
    }
    const [asked, released] = [later(), later()]
    let armed = false
    let ended = false
    const slowly = async (what, value) => {
      if (armed && what === kind) {
        asked.resolve()
        await released.done
      }
      return value
    }
    const requests = []
    const { fetch } = window
    window.fetch = (input, init) => {
      const session = new Headers(init?.headers).get('x-session')
      if (session !== null && init.signal.aborted === false) requests.push([session, ended])
      return fetch(input, init)
    }
    const pushed = []
    let rev = 100
    const transport = (session) => {
      const reply = ({ mutations = [] }) => ({
        ...answer, changes: [{ collection: 'c', records: [{ id: session, _updatedAt: '2026-02-01T00:00:00.000Z', _rev: 99 }] }],
        results: mutations.map(({ id }) => ({ id, status: 'applied', rev: ++rev })),
      })
      return {
        push: (request) => (pushed.push([session, request.mutations.length]), slowly('push', reply(request))),
        pull: (request) => slowly('pull', reply(request)),
      }
    }
    const token = kind === 'no token' ? null : 'secret'
    const sync = (session) => ({
      auto: false, getToken: () => slowly(kind.endsWith('token') ? kind : '', token), headers: () => slowly('headers', { 'x-session': session }),
      ...(kind === 'push' || kind === 'pull' ? { transport: transport(session) } : { url }),
    })
    const name = `late ${kind} ${end}`
    const db = await openDatabase({ name, sync: sync('old') })
    // A token is asked for once, a first request pulls.
    if (kind !== 'token' && kind !== 'pull') await db.sync()
    const before = db.collection('c').get('old') !== undefined
    await db.collection('c').insert({ id: 'a' })
    armed = true
    const call = failure(db.sync())
    await asked.done
    await (end === 'wipe' ? db.wipe({ discardPending: true }) : db.close())
    ended = true
    armed = false
    const again = await openDatabase({ name, sync: sync('new') })
    const waiting = again.queue.list().length
    released.resolve()
    // Longer than what a late answer could set off: it goes to the server or the disk and back.
    await again.collection('c').insert({ id: 'b' })
    const between = [again.queue.list().length, (again.collection('c').get('old') !== undefined) === (before && end === 'close')]
    await again.sync()
    while (again.status.getSnapshot().pending > 0) await again.sync()
    const shown = ['a', 'b'].map((id) => again.collection('c').state(id))
    window.fetch = fetch
    await again.wipe({ discardPending: true })
    return { code: (await call).code, waiting, between, shown, pushed, left: requests.filter(([session, late]) => session === 'old' && late).length, went: requests.some(([session]) => session === 'new') }
  }, { kind, end, url: server.url, answer: JSON.parse(answerPage({})) })
}

for (const end of ['close', 'wipe']) {
  test(`invariant 5: what the app's functions answer after ${end}() changes nothing`, async () => {
    for (const kind of ['token', 'no token', 'headers', 'push', 'pull']) {
      const own = kind === 'push' || kind === 'pull'
      const { pushed, shown, ...result } = await answersLate(kind, end)
      const waiting = end === 'close' ? 1 : 0
      assert.deepEqual(result, { code: 'closed', waiting, between: [waiting + 1, true], left: 0, went: !own }, kind)
      assert.deepEqual(shown.slice(1 - waiting), Array(waiting + 1).fill('synced'), kind)
      const again = pushed.filter(([session]) => session === 'new').reduce((sum, [, count]) => sum + count, 0)
      assert.equal(again, own ? waiting + 1 : 0, `${kind}: sent again by the session that is open`)
    }
  })
}

test('invariant 5: every API may be called from getToken, headers and a transport', async () => {
  for (const kind of ['getToken', 'headers', 'push', 'pull']) {
    const result = await page.evaluate(async ({ kind, url, answer }) => {
      let db
      let work = () => {}
      const called = (what, value) => {
        if (what === kind) work()
        return value
      }
      let rev = 100
      const reply = ({ mutations = [] }) => ({ ...answer, changes: [], results: mutations.map(({ id }) => ({ id, status: 'applied', rev: ++rev })) })
      const transport = { push: async (request) => called('push', reply(request)), pull: async (request) => called('pull', reply(request)) }
      const own = kind === 'push' || kind === 'pull'
      db = await openDatabase({ name: `inside ${kind}`, sync: { auto: false, getToken: async () => called('getToken', 'secret'), headers: () => called('headers', {}), ...(own ? { transport } : { url }) } })
      const c = db.collection('c')
      const seen = []
      const promised = []
      // Once, while a request waits for what the function gives.
      work = () => {
        work = () => {}
        const calls = [
          () => promised.push(c.insert({ id: 'inside', n: 1 })), () => promised.push(c.update('inside', { n: 2 })), () => promised.push(db.batch((tx) => tx.collection('c').insert({ id: 'batch' }))),
          () => c.get('inside').n, () => c.query({}).getSnapshot().length, () => db.status.getSnapshot().state, () => db.queue.list().length, () => db.queue.explain(), () => db.deadLetters.list(), () => db.conflicts.list(), () => db.metrics(),
          () => promised.push(db.exportDocument()), () => promised.push(db.importDocument({ c: [{ id: 'imported' }] })), () => promised.push(failure(db.sync())), () => db.pause(), () => db.resume(),
        ]
        for (const call of calls) {
          try {
            call()
          } catch (error) {
            seen.push(`${call}: ${error.message}`)
          }
        }
      }
      await failure(c.insert({ id: 'a' }))
      await failure(db.sync())
      await Promise.all(promised)
      do await db.sync()
      while (db.status.getSnapshot().pending > 0)
      const states = ['a', 'inside', 'batch', 'imported'].map((id) => c.state(id))
      const { n } = c.get('inside')
      await db.wipe({ discardPending: true })
      return { seen, states, n, count: promised.length }
    }, { kind, url: server.url, answer: JSON.parse(answerPage({})) })
    assert.deepEqual(result, { seen: [], states: Array(4).fill('synced'), n: 2, count: 6 }, kind)
  }
  assert.deepEqual(site.problems, [])
})
