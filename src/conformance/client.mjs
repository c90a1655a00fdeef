// A device that speaks the protocol and nothing else: it keeps no queue and merges nothing. Not here: what is expected (`cases.mjs`).

import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { Told } from './answers.mjs'
import { content } from './versions.mjs'

const HOUR = 3_600_000
/** How often a request that the server asks to send later is sent again; the waits get longer. */
const PATIENCE = 40
/** Pages in a row that may bring nothing new while more is announced. */
const IDLE_PAGES = 100

/** A run against one server: names of its own, so that it can be repeated on the same data. */
export class Run {
  /** `timeout`: milliseconds that a request may take. `otherToken` opens another scope. */
  constructor(url, token, { fetch = globalThis.fetch, timeout = 30_000, otherToken } = {}) {
    this.url = `${url.replace(/\/+$/, '')}/api/v1/sync/delta`
    this.token = token
    this.otherToken = otherToken
    this.fetch = fetch
    this.timeout = timeout
    this.told = new Told()
    this.name = randomUUID().slice(0, 8)
    this.collection = `conformance-${this.name}`
  }

  device(name, options) {
    return new Device(this, `${name}-${this.name}`, options)
  }

  /** A name nobody else uses. */
  id(name) {
    return `${name}-${this.name}`
  }

  /** The answer's status and body; `body` is what it sent where that is no JSON. Whoever is told to come later does, a number of times. */
  async ask(init = {}, query = '', token = this.token) {
    for (let tries = 1; ; tries += 1) {
      const answer = await this.#once(init, query, token)
      if (![429, 503].includes(answer.status) || tries === PATIENCE) return answer
      const told = answer.body?.error?.retryAfterMs ?? 1000 * Number(answer.headers.get('retry-after') ?? 1)
      // Many who were told the same moment would all come at it.
      await wait(Math.min(Number.isFinite(told) ? Math.max(told, 0) : 1000, 10_000) + Math.random() * 15 * tries)
    }
  }

  async #once(init, query, token) {
    const headers = { authorization: `Bearer ${token}`, ...init.body === undefined ? {} : { 'content-type': 'application/json' } }
    const signal = AbortSignal.timeout(this.timeout)
    try {
      const answer = await this.fetch(this.url + query, { ...init, headers: { ...headers, ...init.headers }, signal })
      const text = await answer.text()
      return { status: answer.status, headers: answer.headers, body: parsed(text) }
    } catch (error) {
      if (signal.aborted) throw new Error(`no answer to a ${init.method ?? 'GET'} within ${this.timeout / 1000} s`)
      throw new Error(`a ${init.method ?? 'GET'} failed: ${error.cause?.message ?? error.message}`)
    }
  }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export class Device {
  /** `limit`: most rows it takes with the answer to a push. */
  constructor(run, clientId, { token = run.token, limit = 1 } = {}) {
    this.run = run
    this.clientId = clientId
    this.token = token
    this.limit = limit
    this.seq = 0
    /** What it holds: `collection/id` to row; rows of this run only. */
    this.rows = new Map()
    this.cursor = null
    /** What the last answer said of itself. */
    this.heard = {}
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

  /** Sends a request as it is, and takes in what comes with the answer, which must be 200. */
  async send(request) {
    const body = this.#read('push', await this.run.ask({ method: 'POST', body: JSON.stringify(request) }, '', this.token), request)
    this.take(body)
    return body
  }

  #read(what, { status, body }, { requestId, mutations }) {
    if (status !== 200) throw new Error(`a ${what} was answered ${status}: ${JSON.stringify(body)}`)
    this.run.told.hear(body, { requestId, mutations, token: this.token })
    const { scope, epoch, reset } = body
    this.heard = { scope, epoch, reset }
    return body
  }

  /** Pushes, and resolves to the results, in the order of the mutations. Pages behind the one that comes with them are for `pull`. */
  async push(...mutations) {
    const { results } = await this.send(this.request(mutations, { limit: this.limit }))
    return mutations.map(({ id }) => results.find((result) => result.id === id) ?? { id, status: 'not answered' })
  }

  /** One page from its cursor on, taken into `rows`. */
  async page(limit = 500, more = {}) {
    const requestId = randomUUID()
    const query = new URLSearchParams({ protocol: '1', clientId: this.clientId, requestId, limit: String(limit), ...this.cursor === null ? {} : { cursor: this.cursor }, ...more })
    const body = this.#read('pull', await this.run.ask({}, `?${query}`, this.token), { requestId })
    return { ...body, news: this.take(body) }
  }

  /** Takes an answer's rows and cursor in as a device does, and says how many of the rows it did not have. */
  take({ reset, changes, cursor }) {
    if (reset) this.rows.clear()
    let news = 0
    for (const { collection, records } of changes) {
      for (const row of records) {
        const key = `${collection}/${row.id}`
        if (this.rows.get(key)?._rev >= row._rev) continue
        this.rows.set(key, row)
        news += 1
      }
    }
    this.cursor = cursor
    return news
  }

  /** Everything from its cursor on; the rows of this run's collection and of the archive about it. */
  async pull(limit = 500) {
    for (let idle = 0; idle < IDLE_PAGES;) {
      const before = this.cursor
      const { hasMore, news } = await this.page(limit)
      if (!hasMore) return this
      if (this.cursor === before) throw new Error('a page says hasMore, but its cursor is the one it was asked with: that would go on for ever')
      idle = news > 0 ? 0 : idle + 1
    }
    throw new Error(`${IDLE_PAGES} pages in a row say hasMore and bring nothing new`)
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

export const DAY = 24 * HOUR
