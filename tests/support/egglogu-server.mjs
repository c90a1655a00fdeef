// A server with the habits of EGGlogU's present sync endpoint, for the test of the example transport: ids of its own that it does not
// tell, no receipts, pages of 500 an entity, whole seconds without a zone, conflicts as sentences, deleted rows not listed.

import { createServer } from 'node:http'
import { randomUUID } from 'node:crypto'

const ENTITIES = { flocks: ['farm_id', 'name', 'breed', 'count', 'birth_date', 'notes'], production: ['flock_id', 'date', 'total_eggs', 'notes'] }
const seconds = (ms) => new Date(ms).toISOString().slice(0, 19)

/** `lose(n)`: the answers of the next `n` requests that write are lost after they took effect. */
export async function startEggloguServer() {
  const tables = Object.fromEntries(Object.keys(ENTITIES).map((entity) => [entity, []]))
  let losing = 0
  let inserts = 0

  function write(entity, record, conflicts) {
    if (!(entity in ENTITIES)) return conflicts.push(`Unknown entity: ${entity}`)
    const values = Object.fromEntries(ENTITIES[entity].filter((column) => column in record).map((column) => [column, record[column]]))
    const row = tables[entity].find(({ id, deleted_at }) => id === record.id && deleted_at === null)
    if (row === undefined) {
      inserts++
      return tables[entity].push({ id: randomUUID(), ...Object.fromEntries(ENTITIES[entity].map((column) => [column, null])), ...values, updated_at: seconds(Date.now()), deleted_at: null })
    }
    if (record.updated_at && record.updated_at.slice(0, 19) <= row.updated_at) return conflicts.push(`${entity}/${row.id}: server is newer`)
    Object.assign(row, values, { updated_at: seconds(Date.now()), deleted_at: record.deleted_at ?? null })
  }

  function read(since) {
    const rows = (entity) => tables[entity].filter((row) => row.deleted_at === null && (since === null || row.updated_at > since.slice(0, 19)))
    const page = (entity) => rows(entity).sort((a, b) => a.updated_at.localeCompare(b.updated_at)).slice(0, 500)
    return Object.fromEntries(Object.keys(tables).map((entity) => [entity, page(entity)]).filter(([, rows]) => rows.length > 0))
  }

  const server = createServer(async (request, response) => {
    const headers = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization, content-type', 'content-type': 'application/json' }
    if (request.method === 'OPTIONS') return response.writeHead(204, headers).end()
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    if (request.headers.authorization !== 'Bearer token') return response.writeHead(401, headers).end('{"detail":"Not authenticated"}')
    const { last_synced_at: since, data } = JSON.parse(Buffer.concat(chunks).toString())
    const conflicts = []
    for (const [entity, records] of Object.entries(data)) for (const record of records) write(entity, record, conflicts)
    if (losing > 0 && Object.keys(data).length > 0) {
      losing--
      return response.destroy()
    }
    response.writeHead(200, headers).end(JSON.stringify({ conflicts, server_changes: read(since), server_now: `${new Date().toISOString().slice(0, -1)}000+00:00` }))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}/api/v1/sync/`,
    tables,
    live: (entity) => tables[entity].filter(({ deleted_at }) => deleted_at === null),
    lose: (n) => { losing = n },
    inserts: () => inserts,
    insert: (entity, record) => write(entity, record, []),
    close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve) }),
  }
}
