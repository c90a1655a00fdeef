// The server that all peers talk to: it keeps what is pushed in memory and answers in the protocol that a peer speaks.
//
//   POST /sync/<database>/publish                    `{ from, count, stamp, suffix }`: records that the next pull brings
//   GET  /sync/<database>/stored                     what was pushed, as one JSON array
//   POST /sync/<database>/plain/push                 `{ records }` -> `{ acked }`
//   GET  /sync/<database>/plain/pull?since=&limit=   -> `{ records, checkpoint, more }`
//   …    /sync/<database>/api/v1/sync/delta          Homing's protocol
//   …    /sync/<database>/couch/…                    as much of CouchDB's as PouchDB asks for (`couch.mjs`)
//
// Lives here: one state per page origin and database; pages as JSON text, made when they are published, so that a pull costs the server
// nothing. Not here: tokens, faults, merging: what is measured is the client.

import { answerCouch } from './couch.mjs'
import { makeRecords } from './records.mjs'

const PAGE = 1_000
const EPOCH = 'bench'

/** A request handler for `static-server.mjs`, with a state of its own. */
export function createSyncServer() {
  const states = new Map()
  return async (request, response) => {
    const url = new URL(request.url, `http://${request.headers.host}`)
    const [, , database, protocol, ...rest] = url.pathname.split('/')
    const key = `${request.headers.host}/${database}`
    if (!states.has(key)) states.set(key, newState())
    const body = request.method === 'GET' ? null : JSON.parse((await readBody(request)) || 'null')
    const { status = 200, text } = answer(states.get(key), { method: request.method, protocol, path: rest.join('/'), query: url.searchParams, body })
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-status': String(status) }).end(text)
  }
}

/** `pushed`: by id. `pages`: what pulls bring. `documents`, `local`: the same for CouchDB, and its checkpoints. */
function newState() {
  return { rev: 0, generation: 0, pages: [], pushed: new Map(), documents: new Map(), local: new Map() }
}

async function readBody(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function answer(state, call) {
  if (call.protocol === 'publish') return { text: publish(state, call.body) }
  if (call.protocol === 'stored') return { text: JSON.stringify([...state.pushed.values()]) }
  if (call.protocol === 'plain') return { text: call.path === 'push' ? takePlain(state, call.body) : pagePlain(state, Number(call.query.get('since'))) }
  if (call.protocol === 'api') return { text: call.method === 'POST' ? takeHoming(state, call.body) : pageHoming(state, revOf(call.query.get('cursor'))) }
  if (call.protocol === 'couch' || call.protocol === undefined || call.protocol === '') return answerCouch(state, call)
  return { status: 404, text: '{}' }
}

function publish(state, { from, count, stamp, suffix }) {
  state.generation += 1
  const records = makeRecords(count, from).map((record) => ({ ...record, notes: record.notes + suffix }))
  for (let start = 0; start < records.length; start += PAGE) {
    const rows = records.slice(start, start + PAGE).map((record) => ({ ...record, _updatedAt: stamp, _deletedAt: null, _rev: ++state.rev }))
    state.pages.push({ rev: state.rev, text: JSON.stringify(rows) })
    for (const row of rows) state.documents.set(row.id, { seq: row._rev, generation: state.generation, row })
  }
  return '{}'
}

function pageAfter(state, since) {
  const page = state.pages.find(({ rev }) => rev > since)
  return { at: page?.rev ?? Math.max(since, state.rev), text: page?.text ?? '[]', more: page !== undefined && page !== state.pages.at(-1) }
}

function takePlain(state, { records }) {
  for (const record of records) {
    state.rev += 1
    state.pushed.set(record.id, record)
  }
  return JSON.stringify({ acked: records.map(({ id }) => id) })
}

function pagePlain(state, since) {
  const { at, text, more } = pageAfter(state, since)
  return `{"records":${text},"checkpoint":${at},"more":${more}}`
}

function revOf(cursor) {
  return Number(/^c1\.(\d+)\./.exec(cursor ?? '')?.[1] ?? 0)
}

/** Everything is applied as it was sent. What the pushing device has not pulled yet stays for its next pull. */
function takeHoming(state, { mutations, cursor }) {
  const since = revOf(cursor)
  const behind = state.pages.length > 0 && state.pages.at(-1).rev > since
  const results = mutations.map((mutation) => {
    state.pushed.set(mutation.recordId, mutation.record)
    return { id: mutation.id, status: 'applied', rev: ++state.rev }
  })
  return envelope(state, { results: JSON.stringify(results), changes: '[]', at: behind ? since : state.rev, more: behind })
}

function pageHoming(state, since) {
  const { at, text, more } = pageAfter(state, since)
  const changes = text === '[]' ? '[]' : `[{"collection":"records","records":${text}}]`
  return envelope(state, { results: '[]', changes, at, more })
}

function envelope({ rev }, { results, changes, at, more }) {
  return `{"protocol":1,"requestId":"bench","serverTime":"${new Date().toISOString()}","scope":"bench","epoch":"${EPOCH}","results":${results},`
    + `"changes":${changes},"rev":${rev},"cursor":"c1.${at}..${EPOCH}","hasMore":${more},"reset":false}`
}
