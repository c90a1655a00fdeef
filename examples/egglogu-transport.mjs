// A transport for a server that does not speak Homing's protocol: EGGlogU's present `POST /api/v1/sync/`, which gives ids and does not
// tell them, has no receipts, pages of 500, stamps in whole seconds, conflicts as sentences, and does not list deleted rows. Bridged by
// a copy of its rows with revisions of our own, and a note of every insert before it leaves. In use: README, "Your own transport".

const AT_ONCE = 250 // rows a second: a page of that server has to hold all rows of one second
const instant = (stamp) => new Date(/Z|[+-]\d\d:\d\d$/.test(stamp) ? stamp : `${stamp}Z`).toISOString()
const second = (ms) => new Date(ms).toISOString().slice(0, 19)
const toRow = ({ columns }, record) => Object.fromEntries(Object.entries(columns).map(([field, column]) => [column, record[field] ?? null]))
const toFields = ({ columns }, row) => Object.fromEntries(Object.entries(columns).map(([field, column]) => [field, row[column] ?? null]))
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)

export function eggloguTransport({ url, scope, collections, store = localStorage }) {
  const key = `egglogu:${scope}`
  let state // rows: `collection/id` -> record; sent: optimistic id -> the row while it is on its way, then the server's id
  const idOf = (id) => (Object.hasOwn(state.sent, id) && state.sent[id].id) || id
  const known = ({ collection, recordId }) => state.rows[`${collection}/${idOf(recordId)}`]
  const mapping = ({ collection }) => collections[collection] ?? { entity: collection, columns: {} }
  const wanted = (m) => toRow(mapping(m), JSON.parse(JSON.stringify(m.record), (_, value) => idOf(value)))
  const isUpdated = (m, row) => row && !row._deletedAt && same(toRow(mapping(m), row), wanted(m))
  const isDone = (m, row) => (m.op === 'create' ? row : m.op === 'delete' ? row?._deletedAt : isUpdated(m, row))
  /** One request at a time, of all tabs: each goes on from what the one before noted. */
  const alone = (work) => (request, context) => navigator.locks.request(key, { signal: context.signal }, async () => {
    state = JSON.parse(store.getItem(key)) ?? { epoch: `e${Date.now()}`, rev: 0, rows: {}, sent: {} }
    await refresh(context)
    return work(request, context)
  })
  async function post(since, data, { signal, token }) {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
    const response = await fetch(url, { method: 'POST', signal, headers, body: JSON.stringify({ last_synced_at: since, data }) })
    if (response.ok) return response.json()
    throw Object.assign(new Error(await response.text()), { status: response.status, retryAfterMs: 1000 * response.headers.get('retry-after') || undefined })
  }
  /** Lists all the server has (that a row was deleted shows in nothing else) and gives what changed a revision. */
  async function refresh(context) {
    const listed = new Map()
    for (let since = null, full; since === null || full.length > 0;) {
      const { server_changes: pages, server_now: now } = await post(since, {}, context), before = listed.size
      for (const [entity, rows] of Object.entries(pages)) for (const row of rows) listed.set(row.id, { entity, row })
      full = Object.values(pages).filter((rows) => rows.length >= 500).map((rows) => Date.parse(instant(rows.at(-1).updated_at)))
      if (full.length > 0 && listed.size === before) throw new Error('more rows in one second than a page holds')
      since = second(Math.min(...full, Date.parse(instant(now))) - 1000) // that second once more: it may have more rows
      context.now = instant(now)
    }
    for (const [collection, into] of Object.entries(collections)) {
      const gone = new Set(Object.keys(state.rows).filter((path) => path.startsWith(`${collection}/`) && !state.rows[path]._deletedAt))
      for (const { row } of [...listed.values()].filter(({ entity }) => entity === into.entity)) {
        const path = `${collection}/${row.id}`, old = state.rows[path]
        const record = { id: row.id, ...toFields(into, row), _updatedAt: instant(row.updated_at), _deletedAt: null }
        const insert = !old && Object.values(state.sent).find((sent) => sent.collection === collection && same(sent.row, toRow(into, record)))
        if (insert) Object.assign(insert, { id: row.id, row: null })
        if (!same({ ...record, _rev: old?._rev }, old)) state.rows[path] = { ...record, _rev: ++state.rev }
        gone.delete(path)
      }
      for (const path of gone) Object.assign(state.rows[path], { _updatedAt: context.now, _deletedAt: context.now, _rev: ++state.rev })
    }
    store.setItem(key, JSON.stringify(state))
  }
  async function push({ mutations, ...request }, context) {
    const data = {}, here = new Set(mutations.map(({ id }) => id))
    const ready = mutations.filter(({ dependsOn = [] }) => !dependsOn.some((id) => here.has(id))).slice(0, AT_ONCE) // what is not answered comes again
    for (const m of ready.filter((m) => m.op !== 'undelete' && !isDone(m, known(m)))) {
      const row = wanted(m), old = known(m)
      if (m.op === 'create') state.sent[m.recordId] = { collection: m.collection, row }
      else if (old?._rev !== m.baseRev) continue // and the server does not take it if the row changed since
      else Object.assign(row, { id: old.id, deleted_at: m.record._deletedAt, updated_at: second(Date.parse(old._updatedAt) + 1000) })
      ;(data[mapping(m).entity] ??= []).push(row)
    }
    store.setItem(key, JSON.stringify(state))
    const { conflicts } = await post(context.now, data, context)
    await new Promise((done) => setTimeout(done, Object.values(data).flat().length * 1000 / AT_ONCE))
    await refresh(context)
    const judge = (m, record) => {
      if (isDone(m, record)) return { status: 'applied', rev: record._rev, record, recordId: record.id }
      if (record && m.op !== 'undelete') return { status: 'conflict', rev: record._rev, record }
      return { status: 'rejected', code: 'not-taken', message: conflicts.join('; ') || 'this server does not bring deleted rows back' }
    }
    return { ...answer(request, context), results: ready.map((m) => ({ id: m.id, ...judge(m, known(m)) })) }
  }
  function answer({ requestId, cursor }, { now }) {
    const { epoch, rev, rows } = state, [old, seen] = (cursor ?? '').split('.'), reset = cursor !== null && old !== epoch
    const fresh = Object.entries(rows).filter(([, row]) => old !== epoch || row._rev > Number(seen)).sort(([, a], [, b]) => a._rev - b._rev)
    const changes = fresh.map(([path, row]) => ({ collection: path.slice(0, path.indexOf('/')), records: [row] }))
    return { protocol: 1, requestId, serverTime: now, scope, epoch, rev, cursor: `${epoch}.${rev}`, changes, reset, hasMore: false, horizon: now }
  }
  return { push: alone(push), pull: alone(answer) }
}
