// A device that speaks the protocol and nothing else: it keeps no queue and merges nothing. Not here: what is expected (`cases.mjs`).

import { randomUUID } from 'node:crypto'

const HOUR = 3_600_000

/** A run against one server: names of its own, so that it can be repeated on the same data. */
export class Run {
  constructor(url, token, fetch = globalThis.fetch) {
    this.url = `${url.replace(/\/+$/, '')}/api/v1/sync/delta`
    this.token = token
    this.fetch = fetch
    this.name = randomUUID().slice(0, 8)
    this.collection = `conformance-${this.name}`
  }

  device(name) {
    return new Device(this, `${name}-${this.name}`)
  }

  /** A name nobody else uses. */
  id(name) {
    return `${name}-${this.name}`
  }

  /** The answer's status and body; `body` is what it sent where that is no JSON. */
  async ask(init = {}, query = '', token = this.token) {
    const headers = { authorization: `Bearer ${token}`, ...init.body === undefined ? {} : { 'content-type': 'application/json' } }
    const answer = await this.fetch(this.url + query, { ...init, headers: { ...headers, ...init.headers } })
    const text = await answer.text()
    try {
      return { status: answer.status, headers: answer.headers, body: JSON.parse(text) }
    } catch {
      return { status: answer.status, headers: answer.headers, body: text }
    }
  }
}

export class Device {
  constructor(run, clientId) {
    this.run = run
    this.clientId = clientId
    this.seq = 0
    /** What it holds: `collection/id` to row; rows of this run only. */
    this.rows = new Map()
    this.cursor = null
  }

  /** A mutation with the next id. `record` without envelope; `at` is an offset from now in milliseconds. */
  mutation(op, recordId, fields = {}, { collection = this.run.collection, baseRev = null, at = 0, ...more } = {}) {
    const updatedAt = new Date(Date.now() + at).toISOString()
    const record = { id: recordId, ...fields, _updatedAt: updatedAt, _deletedAt: op === 'delete' ? updatedAt : null }
    return { id: `${this.clientId}:${++this.seq}`, op, collection, recordId, baseRev, record, updatedAt, ...more }
  }

  request(mutations, more = {}) {
    return { protocol: 1, clientId: this.clientId, requestId: randomUUID(), scope: null, schemas: {}, cursor: this.cursor, settledThrough: 0, mutations, ...more }
  }

  /** Sends a request as it is; the answer must be 200. */
  async send(request) {
    const { status, body } = await this.run.ask({ method: 'POST', body: JSON.stringify(request) })
    if (status !== 200) throw new Error(`a push was answered ${status}: ${JSON.stringify(body)}`)
    return body
  }

  /** Pushes without a cursor and resolves to the results, in the order of the mutations. */
  async push(...mutations) {
    const { results } = await this.send(this.request(mutations, { cursor: null, limit: 1 }))
    return mutations.map(({ id }) => results.find((result) => result.id === id) ?? { id, status: 'not answered' })
  }

  /** One page from its cursor on, taken into `rows`. */
  async page(limit = 500) {
    const query = new URLSearchParams({ protocol: '1', clientId: this.clientId, requestId: randomUUID(), limit: String(limit), ...this.cursor === null ? {} : { cursor: this.cursor } })
    const { status, body } = await this.run.ask({}, `?${query}`)
    if (status !== 200) throw new Error(`a pull was answered ${status}: ${JSON.stringify(body)}`)
    if (body.reset) this.rows.clear()
    for (const { collection, records } of body.changes) {
      for (const row of records) this.rows.set(`${collection}/${row.id}`, row)
    }
    this.cursor = body.cursor
    return body
  }

  /** Everything from its cursor on; the rows of this run's collection and of the archive about it. */
  async pull(limit = 500) {
    while ((await this.page(limit)).hasMore);
    return this
  }

  row(recordId, collection = this.run.collection) {
    return this.rows.get(`${collection}/${recordId}`)
  }

  /** Rows of `_conflictArchive` about a record. */
  archive(recordId, collection = this.run.collection) {
    return [...this.rows].filter(([key, row]) => key.startsWith('_conflictArchive/') && row.collection === collection && row.recordId === recordId).map(([, row]) => row)
  }

  /** The live rows of this run, as text that is equal where they are. */
  state() {
    const own = [...this.rows].filter(([key, row]) => key.startsWith(`${this.run.collection}/`) && row._deletedAt == null)
    return JSON.stringify(own.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, row]) => [key, row._rev, content(row)]))
  }
}

/** What the app wrote. */
export function content(row) {
  return Object.fromEntries(Object.entries(row ?? {}).filter(([name]) => !name.startsWith('_')).sort(([a], [b]) => (a < b ? -1 : 1)))
}

export const DAY = 24 * HOUR
