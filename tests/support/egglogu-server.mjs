// A server with the habits of EGGlogU's present sync endpoint, for the test of the example transport: ids of its own that it does not
// tell, no receipts, pages of 500 an entity, whole seconds without a zone, conflicts as sentences, deleted rows not listed, unknown
// columns dropped, a row written again only when the client's `updated_at` is later (or not given).

import { createServer } from 'node:http'
import { randomUUID } from 'node:crypto'

const COLUMNS = {
  flocks: ['farm_id', 'name', 'breed', 'count', 'birth_date', 'status', 'notes'],
  production: ['flock_id', 'date', 'total_eggs', 'broken', 'deaths', 'notes'],
}
const PAGE = 500
const ORGANIZATION = '00000000-0000-0000-0000-000000000002'
const stamp = (ms) => new Date(ms).toISOString().slice(0, 19)
const instant = (text) => Date.parse(/Z|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`)

/**
 * Starts it.
 *
 * - `insert(entity, record, at?)`, `update(entity, id, values)`, `remove(entity, id)`: what another client does, at once.
 * - `live(entity)`: the rows that are not deleted. `inserts()`: how many were ever inserted.
 * - `lose(n)`: the answers of the next `n` requests that write are lost after they took effect.
 * - `meanwhile(work)`: runs just before the next request that writes takes effect.
 * - `accept(token)`: from now on only that one.
 * - `counts`: requests, lost answers, refused tokens.
 */
export async function startEggloguServer() {
  const tables = Object.fromEntries(Object.keys(COLUMNS).map((entity) => [entity, new Map()]))
  const counts = { requests: 0, lost: 0, refused: 0 }
  let accepted = 'token'
  let losing = 0
  let inserted = 0
  let work = null

  function insert(entity, record, at = Date.now()) {
    const row = { id: randomUUID(), ...Object.fromEntries(COLUMNS[entity].map((column) => [column, record[column] ?? null])), organization_id: ORGANIZATION, created_at: stamp(at), updated_at: stamp(at), deleted_at: null }
    tables[entity].set(row.id, row)
    inserted++
    return row.id
  }

  function change(entity, row, values, at = Date.now()) {
    for (const column of [...COLUMNS[entity], 'deleted_at']) if (column in values) row[column] = values[column]
    row.updated_at = stamp(at)
  }

  function write(entity, records, conflicts) {
    if (!(entity in COLUMNS)) return conflicts.push(`Unknown entity: ${entity}`)
    for (const record of records) {
      const row = tables[entity].get(String(record.id))
      if (row === undefined || row.deleted_at !== null) insert(entity, record)
      else if (record.updated_at && instant(record.updated_at) <= instant(row.updated_at)) conflicts.push(`${entity}/${row.id}: server is newer`)
      else change(entity, row, record)
    }
  }

  function read(since) {
    const from = since === null ? -Infinity : instant(since)
    const rows = (entity) => [...tables[entity].values()].filter((row) => row.deleted_at === null && instant(row.updated_at) > from)
    const page = (entity) => rows(entity).sort((a, b) => (a.updated_at < b.updated_at ? -1 : 1)).slice(0, PAGE)
    return Object.fromEntries(Object.keys(tables).map((entity) => [entity, page(entity)]).filter(([, rows]) => rows.length > 0))
  }

  const server = createServer(async (request, response) => {
    const headers = { 'access-control-allow-origin': request.headers.origin ?? '*', 'access-control-allow-headers': 'authorization, content-type', 'access-control-allow-methods': 'POST, OPTIONS' }
    const answer = (status, body) => response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (request.method === 'OPTIONS') return answer(200, {})
    if (request.method !== 'POST' || !/^\/api\/v1\/sync\/?$/.test(request.url)) return answer(404, { detail: 'Not Found' })
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    counts.requests++
    if (request.headers.authorization !== `Bearer ${accepted}`) {
      counts.refused++
      return answer(401, { detail: 'Not authenticated' })
    }
    const { last_synced_at: since, data = {} } = JSON.parse(Buffer.concat(chunks).toString())
    const conflicts = []
    const writes = Object.keys(data).length > 0
    if (writes) {
      work?.()
      work = null
    }
    for (const [entity, records] of Object.entries(data)) write(entity, records, conflicts)
    if (writes && losing > 0) {
      losing--
      counts.lost++
      // Half an answer: on a connection that ends without one, browsers send the request a second time by themselves.
      response.writeHead(200, { ...headers, 'content-type': 'application/json', 'content-length': 1000 }).write('{"synced":')
      return setImmediate(() => response.destroy())
    }
    const synced = Object.values(data).flat().length - conflicts.length
    answer(200, { synced, conflicts, conflict_count: conflicts.length, server_changes: read(since), server_now: `${new Date().toISOString().slice(0, -1)}000+00:00` })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}/api/v1/sync/`,
    counts,
    insert,
    // A second later than the last time: the server would not tell two changes of one second apart either.
    update: (entity, id, values) => change(entity, tables[entity].get(id), values, instant(tables[entity].get(id).updated_at) + 1000),
    remove: (entity, id) => change(entity, tables[entity].get(id), { deleted_at: new Date().toISOString() }),
    row: (entity, id) => tables[entity].get(id),
    live: (entity) => [...tables[entity].values()].filter(({ deleted_at }) => deleted_at === null),
    inserts: () => inserted,
    lose: (n) => { losing = n },
    meanwhile: (next) => { work = next },
    accept: (token) => { accepted = token },
    close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve) }),
  }
}
