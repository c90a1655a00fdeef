// A client and a server that declare a collection differently, as an app learns of it. What the engine makes of it: tests/queue/declarations.rs.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

let site
let page

before(async () => {
  site = await openSite()
  page = await site.open()
})
after(async () => {
  assert.deepEqual(site.problems, [])
  await site.close()
})

test('a collection that the server declares otherwise is an error that stands, not a write that silently waits', async () => {
  const result = await page.evaluate(async () => {
    const answer = ({ requestId, mutations = [] }) => ({
      protocol: 1, requestId, serverTime: new Date().toISOString(), scope: 's', epoch: 'e', changes: [], cursor: 'c1.1', rev: 1, hasMore: false, reset: false, horizon: '2020-01-01T00:00:00.000Z',
      results: mutations.map(({ id, collection }) => collection === 'flocks'
        ? { id, status: 'retry', code: 'schema-mismatch', message: 'no', path: '/collection', retryAfterMs: 60_000, declared: { merge: 'lww' } }
        : { id, status: 'applied', rev: 1 }),
    })
    const transport = { push: async (request) => answer(request), pull: async (request) => answer(request) }
    const logged = []
    const db = await openDatabase({ name: 'declared', collections: { flocks: { merge: 'manual' } }, logger: ({ level, message }) => logged.push([level, message]), sync: { transport, auto: false, getToken: async () => 'a-token-of-its-own' } })
    const told = []
    db.addEventListener('error', ({ detail }) => told.push([detail instanceof HomingError, detail.code, detail.path, detail.phase, detail.message, detail.requestId !== null]))
    const write = db.collection('flocks').insert({ id: 'f' })
    const other = db.collection('other').insert({ id: 'o' })
    await db.sync()
    const flows = (await other.settled).status
    await db.collection('flocks').insert({ id: 'g' })
    await db.sync()
    await write
    const until = async (holds) => { while (!holds()) await new Promise((go) => setTimeout(go, 10)) }
    await until(() => db.queue.explain().some(({ until }) => until !== undefined))
    const { state, pending, health, error } = db.status.getSnapshot()
    const out = { flows, told, state, pending, health, error: [error?.code, error?.path], why: db.queue.explain()[0], warned: logged.filter(([level]) => level === 'warn').map(([, message]) => message) }
    await db.wipe({ discardPending: true })
    return out
  })
  const message = 'The server declares flocks differently (merge); what is written there waits until both declare it alike.'
  assert.deepEqual(result.told, [[true, 'schema-mismatch', '/collections/flocks', 'push', message, true]], 'once')
  assert.deepEqual([result.flows, result.state, result.pending, result.health, result.error], ['applied', 'idle', 2, 'degraded', ['schema-mismatch', '/collections/flocks']])
  assert.deepEqual([result.why.reason, typeof result.why.until, result.warned], [message, 'string', [message]])
})
