// The conformance kit ends, whatever a server does: it waits where it is told to, and gives up where nothing comes of it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { conformance } from '../../src/conformance/cli.mjs'
import { startDeclared } from './declared-server.mjs'

let server
let token
before(async () => {
  server = await startDeclared()
  token = await server.token('patience')
})
after(() => server.stop())

/** What the kit says of one case before a server that is wrong in one way. */
async function said(only, fetch, options = {}) {
  const [{ error }] = await conformance(server.url, token, { only: [only], fetch, ...options })
  return error?.message
}

const failing = () => Response.json({ error: { code: 'server-error', message: 'broken', phase: '', requestId: '', retryable: true } }, { status: 500 })

test('a writer that is refused ends the story of many writers, and its reader with it', { timeout: 20_000 }, async () => {
  let n = 0
  assert.match(await said('concurrent-writers', (url, init) => (init.body !== undefined && (n += 1) > 20 ? failing() : fetch(url, init))), /a push was answered 500/)
})

test('so does a reader, with the writers', { timeout: 20_000 }, async () => {
  assert.match(await said('concurrent-writers', (url, init) => (init.body === undefined ? failing() : fetch(url, init))), /a pull was answered 500/)
})

test('a server that does not answer is given up', { timeout: 20_000 }, async () => {
  const silent = (_, { signal }) => new Promise((_, reject) => { signal.addEventListener('abort', () => reject(signal.reason)) })
  assert.match(await said('receipts', silent, { timeout: 100 }), /no answer to a POST within 0.1 s/)
})

test('a server that always has more is given up', { timeout: 20_000 }, async () => {
  const always = (change) => async (url, init) => {
    const answer = await fetch(url, init)
    return init.body === undefined ? Response.json(change(await answer.json(), new URL(url).searchParams.get('cursor'))) : answer
  }
  assert.match(await said('pages', always((body, cursor) => ({ ...body, hasMore: true, cursor: cursor ?? body.cursor }))), /its cursor is the one it was asked with/)
  let n = 0
  const turning = (url, init) => always((body) => ({ ...body, hasMore: true, cursor: `${body.cursor}#${n += 1}` }))(url.replace(/%23\d+/, ''), init)
  assert.match(await said('pages', turning), /bring nothing new/)
})

test('who is told to come later comes later, by body and by header; who is told so without end gives up', { timeout: 60_000 }, async () => {
  let n = 0
  const busy = (url, init) => ((n += 1) % 2 === 0 ? fetch(url, init) : new Response('', { status: 503, headers: { 'retry-after': '0' } }))
  assert.equal(await said('receipts', busy), undefined)
  assert.match(await said('receipts', () => Response.json({ error: { retryAfterMs: 1 } }, { status: 429 })), /a push was answered 429/)
})

test('a server with its default rate is not hurried into refusing', { timeout: 120_000 }, async () => {
  const limited = await startDeclared({ args: [] })
  try {
    const own = await limited.token('hurried')
    const ask = () => fetch(`${limited.url}/api/v1/sync/delta?protocol=1&clientId=x&requestId=y`, { headers: { authorization: `Bearer ${own}` } })
    let statuses = []
    while (!statuses.includes(429)) statuses = await Promise.all(Array.from({ length: 100 }, async () => (await ask()).status))
    const told = await conformance(limited.url, own, { only: ['receipts', 'concurrent-writers'] })
    assert.deepEqual(told.map(({ name, error }) => [name, error?.message]), [['receipts', undefined], ['concurrent-writers', undefined]])
  } finally {
    await limited.stop()
  }
})
