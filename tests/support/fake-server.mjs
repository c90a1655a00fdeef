// A tiny HTTP server that speaks just enough of the sync protocol (version 1) to send what the reference server never would.
// It keeps nothing: each test says what the next answers are.

import { createServer } from 'node:http'

/**
 * Starts it; resolves to `{ url, requests, answer, close }`.
 *
 * - `answer(work)`: from now on `work({ path, method, cursor, mutations, requestId, token })` gives the body (text) or `{ status, body, headers }`.
 * - `requests`: what came, in order: method, cursor, mutations.
 */
export async function startFakeServer() {
  const requests = []
  let work = (asked) => answerPage({ asked })
  const server = createServer((request, response) => {
    const cors = {
      'access-control-allow-origin': request.headers.origin ?? '*',
      'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '*',
      'access-control-allow-methods': 'GET, POST',
    }
    if (request.method === 'OPTIONS') return response.writeHead(204, cors).end()
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      const query = new URL(request.url, 'http://localhost').searchParams
      const body = request.method === 'POST' ? JSON.parse(Buffer.concat(chunks)) : { cursor: query.get('since') ?? query.get('cursor'), requestId: query.get('requestId') }
      const asked = { path: new URL(request.url, 'http://localhost').pathname, method: request.method, cursor: body.cursor || null, mutations: body.mutations ?? [], requestId: body.requestId ?? '', token: request.headers.authorization?.replace('Bearer ', '') ?? null }
      requests.push(asked)
      const answer = work(asked)
      const { status = 200, body: text, headers = {} } = typeof answer === 'string' ? { body: answer } : answer
      response.writeHead(status, { ...cors, 'content-type': 'application/json', ...headers }).end(text)
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    answer(next) { work = next },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/**
 * A page of changes as JSON text. `records` are JSON texts, so that they may be what no JSON.stringify would write. Every
 * mutation of `asked` is answered as applied, and its record sent back among the changes, as a server does.
 *
 * @param {{ asked?: object, collection?: string, records?: readonly string[], changes?: string, rev?: number, hasMore?: boolean }} options
 *   `changes`: a JSON list of what else changed, instead of `collection` and `records`; `rev`: the last one before the mutations
 */
export function answerPage({ asked, collection = 'rows', records = [], changes, rev = 100, hasMore = false }) {
  const mutations = (asked?.mutations ?? []).map((mutation, index) => ({ ...mutation, rev: rev + 1 + index }))
  const results = mutations.map(({ id, rev: own }) => ({ id, status: 'applied', rev: own }))
  const applied = mutations.map((mutation) => JSON.stringify({
    collection: mutation.collection, records: [{ ...mutation.record, id: mutation.recordId, _updatedAt: mutation.updatedAt, _rev: mutation.rev }],
  }))
  const last = rev + results.length
  const envelope = {
    protocol: 1, requestId: asked?.requestId ?? '', serverTime: new Date().toISOString(), scope: 'farm-1', epoch: 'e1', results, rev: last, cursor: `c1.${last}..e1`, hasMore, reset: false,
    horizon: '2026-01-01T00:00:00.000Z',
  }
  if (changes !== undefined) return `${JSON.stringify(envelope).slice(0, -1)},"changes":${changes}}`
  const others = records.length === 0 ? [] : [`{"collection":${JSON.stringify(collection)},"records":[${records.join(',')}]}`]
  return `${JSON.stringify(envelope).slice(0, -1)},"changes":[${[...others, ...applied].join(',')}]}`
}

/** A good row of the given number as JSON text. */
export function goodRow(n) {
  return `{"id":"good-${n}","n":${n},"_updatedAt":"2026-02-01T00:00:00.000Z","_rev":${n}}`
}
