// As much of CouchDB's HTTP interface as PouchDB's replication asks for, on the state of `server.mjs`.
//
// Not here: attachments, conflicts, deletions, continuous feeds.

const REVISION = (generation) => `${generation}-${String(generation).padStart(32, '0')}`

/** Answers one request; `status` is what CouchDB would say (the peer's `fetch` puts it in place, see `peers/pouchdb.mjs`). */
export function answerCouch(state, { method, protocol, path, query, body }) {
  if (protocol !== 'couch') return json({ couchdb: 'Welcome', uuid: 'bench' })
  const [name, ...rest] = path.split('/')
  if (name === '') return json({ db_name: 'couch', update_seq: state.rev, doc_count: state.pushed.size })
  if (name === '_local') return answerLocal(state.local, method, rest.join('/'), body)
  if (name === '_changes') return json(changes(state, Number(query.get('since') ?? 0), Number(query.get('limit') ?? 1_000)))
  if (name === '_bulk_get') return json({ results: body.docs.map(({ id }) => ({ id, docs: [{ ok: document(state.documents.get(id)) }] })) })
  if (name === '_revs_diff') return json(Object.fromEntries(Object.entries(body).map(([id, missing]) => [id, { missing }])))
  if (name === '_bulk_docs') return json(takeDocuments(state, body.docs))
  return { status: 404, text: JSON.stringify({ error: 'not_found', reason: path }) }
}

function json(value) {
  return { text: JSON.stringify(value) }
}

function answerLocal(local, method, id, body) {
  if (method === 'GET') return local.has(id) ? json(local.get(id)) : { status: 404, text: '{"error":"not_found","reason":"missing"}' }
  const _rev = `0-${Number((local.get(id)?._rev ?? '0-0').slice(2)) + 1}`
  local.set(id, { ...body, _id: `_local/${id}`, _rev })
  return json({ ok: true, id: `_local/${id}`, rev: _rev })
}

function changes({ documents, rev }, since, limit) {
  const newer = [...documents].filter(([, { seq }]) => seq > since).sort((a, b) => a[1].seq - b[1].seq)
  const results = newer.slice(0, limit).map(([id, { seq, generation }]) => ({ id, seq, changes: [{ rev: REVISION(generation) }] }))
  return { results, last_seq: results.at(-1)?.seq ?? Math.max(rev, since), pending: newer.length - results.length }
}

function document({ generation, row }) {
  const { id, _updatedAt, _deletedAt, _rev, ...fields } = row
  const ids = Array.from({ length: generation }, (_, back) => REVISION(generation - back).split('-')[1])
  return { _id: id, ...fields, updatedAt: _updatedAt, _rev: REVISION(generation), _revisions: { start: generation, ids } }
}

function takeDocuments(state, docs) {
  for (const { _id, _rev, _revisions, ...fields } of docs) {
    state.rev += 1
    state.pushed.set(_id, { id: _id, ...fields })
  }
  return []
}
