// A transport for a server that does not speak Homing's protocol: EGGlogU's present `POST /api/v1/sync/`. Entities and columns have
// names of their own; the server gives ids and does not tell them; no receipts; pages of 500; stamps in whole seconds without a zone;
// conflicts as sentences; deleted rows are not listed. What it lacks is bridged here: a copy of its rows with revisions of our own,
// and a note of every insert before it leaves, so that one whose answer was lost is found again. In use: README, "Your own transport".

const ID = /"(optimistic_[^"]+)"/g
const rename = (object, names) => Object.fromEntries(Object.entries(names).filter(([from]) => from in object).map(([from, to]) => [to, object[from]]))
const flip = (names) => Object.fromEntries(Object.entries(names).map(([field, column]) => [column, field]))
const instant = (stamp) => new Date(/Z|[+-]\d\d:\d\d$/.test(stamp) ? stamp : `${stamp}Z`).toISOString()
const failure = (message, more) => Object.assign(new Error(message), more)

export function eggloguTransport({ url, scope, collections, store = localStorage, fetch = globalThis.fetch.bind(globalThis) }) {
  const state = JSON.parse(store.getItem(`egglogu:${scope}`)) ?? { epoch: `e${Date.now()}`, rev: 0, rows: {}, sent: {}, ids: {} }
  const save = () => store.setItem(`egglogu:${scope}`, JSON.stringify(state))
  const content = (collection, row) => JSON.stringify(Object.values(collections[collection].columns).map((column) => row[column] ?? null))
  const note = (path, record) => { state.rows[path] = { ...record, _rev: ++state.rev } }

  async function post(body, { signal, token }) {
    const response = await fetch(url, { method: 'POST', signal, headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: JSON.stringify(body) })
    if (!response.ok) throw failure(await response.text(), { status: response.status, retryAfterMs: 1000 * response.headers.get('retry-after') || undefined })
    return response.json()
  }
  /** Lists all the server has (that a row was deleted shows in nothing else) and gives what changed a revision. */
  async function refresh(context) {
    const listed = new Map()
    for (let since = null, full = [0]; full.length > 0;) {
      const { server_changes: pages, server_now: now } = await post({ last_synced_at: since, data: {} }, context), before = listed.size
      for (const [entity, rows] of Object.entries(pages)) for (const row of rows) listed.set(`${entity}/${row.id}`, row)
      full = Object.values(pages).filter((rows) => rows.length >= 500).map((rows) => Date.parse(instant(rows.at(-1).updated_at)))
      if (full.length > 0 && listed.size === before) throw failure('more rows in one second than a page holds', { code: 'bad-response' })
      since = new Date(Math.min(...full, Date.now()) - 1000).toISOString() // that second once more: it may have more rows
      context.now = instant(now)
    }
    for (const [collection, { entity, columns }] of Object.entries(collections)) {
      const gone = new Set(Object.keys(state.rows).filter((path) => path.startsWith(`${collection}/`) && !state.rows[path]._deletedAt))
      for (const row of [...listed].filter(([path]) => path.startsWith(`${entity}/`)).map(([, row]) => row)) {
        const path = `${collection}/${row.id}`, record = { id: row.id, ...rename(row, flip(columns)), _updatedAt: instant(row.updated_at), _deletedAt: null }
        const insert = !state.rows[path] && Object.values(state.sent).find((s) => s.id === undefined && s.collection === collection && s.content === content(collection, row))
        if (insert) insert.id = state.ids[insert.recordId] = row.id
        if (JSON.stringify({ ...record, _rev: 0 }) !== JSON.stringify({ ...state.rows[path], _rev: 0 })) note(path, record)
        gone.delete(path)
      }
      for (const path of gone) note(path, { ...state.rows[path], _updatedAt: context.now, _deletedAt: context.now })
    }
    save()
  }
  /** Sends what does not wait for the id of another record, learns ids, and so on. */
  async function push({ mutations, settledThrough, ...request }, context) {
    for (const id of Object.keys(state.sent)) if (Number(id.split(':').pop()) <= settledThrough) delete state.sent[id]
    await refresh(context)
    const results = []
    for (let waiting = mutations, ready; waiting.length > 0; waiting = waiting.filter((m) => !ready.includes(m))) {
      const data = {}, open = new Set(waiting.filter((m) => m.op === 'create').map((m) => m.recordId))
      ready = waiting.filter((m) => ![...JSON.stringify(m.record).matchAll(ID)].some(([, id]) => id !== m.recordId && open.has(id)))
      if (ready.length === 0) ready = waiting // they refer to each other: some reference stays as it is
      for (const m of ready) {
        const { entity, columns } = collections[m.collection], id = state.ids[m.recordId] ?? m.recordId, insert = m.op === 'create'
        const row = rename(JSON.parse(JSON.stringify(m.record).replace(ID, (text, id) => (state.ids[id] ? `"${state.ids[id]}"` : text))), columns)
        m.stale = !insert && (m.op === 'undelete' || state.rows[`${m.collection}/${id}`]?._rev !== m.baseRev)
        if (m.stale || state.sent[m.id]?.id) continue // an insert whose answer was lost is there
        if (insert) state.sent[m.id] = { collection: m.collection, recordId: m.recordId, content: content(m.collection, row) }
        ;(data[entity] ??= []).push(insert ? row : { ...row, id, deleted_at: m.op === 'delete' ? m.updatedAt : null })
      }
      save()
      const { conflicts } = Object.keys(data).length > 0 ? await post({ last_synced_at: context.now, data }, context) : { conflicts: [] }
      await refresh(context)
      for (const m of ready) {
        const recordId = state.ids[m.recordId] ?? m.recordId, record = state.rows[`${m.collection}/${recordId}`], id = m.id
        const taken = m.stale ? { status: 'conflict', rev: state.rev } : { status: 'applied', rev: record?._rev, recordId }
        results.push({ id, ...(record || m.stale ? { ...taken, record } : { status: 'rejected', code: 'not-taken', message: conflicts.join('; ') || 'the server did not take it' }) })
      }
    }
    return { ...answer(request, context), results }
  }
  function answer({ requestId, cursor }, { now }) {
    const [epoch, rev] = (cursor ?? '').split('.'), after = epoch === state.epoch ? Number(rev) : 0
    const rows = (collection) => Object.keys(state.rows).filter((path) => path.startsWith(`${collection}/`) && state.rows[path]._rev > after).map((path) => state.rows[path])
    const changes = Object.keys(collections).map((collection) => ({ collection, records: rows(collection).sort((a, b) => a._rev - b._rev) }))
    return { protocol: 1, requestId, serverTime: now, scope, epoch: state.epoch, changes, rev: state.rev, cursor: `${state.epoch}.${state.rev}`, hasMore: false, reset: cursor !== null && after === 0, horizon: now }
  }
  return { push, pull: (request, context) => refresh(context).then(() => answer(request, context)) }
}
