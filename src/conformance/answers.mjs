// What every answer must be, whatever it is about: a device reads no other. Not here: what becomes of a mutation (`cases.mjs`).

import { isDeepStrictEqual } from 'node:util'
import { version } from './versions.mjs'

const SKEW = 5 * 60_000
const STATUSES = ['applied', 'merged', 'superseded', 'conflict', 'rejected', 'blocked', 'retry', 'expired']
/** Where these come with a record, it is stored under `rev`; without, what the mutation carried is, or nothing. */
const TOLD = ['applied', 'merged', 'superseded', 'conflict']

const isText = (value) => typeof value === 'string' && value !== ''
const isDate = (value) => isText(value) && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) && !Number.isNaN(Date.parse(value))
const isRev = (value) => Number.isSafeInteger(value) && value >= 0
const isFlag = (value) => typeof value === 'boolean'

const MEMBERS = {
  protocol: (value) => value === 1, serverTime: isDate, scope: isText, epoch: isText, results: Array.isArray, changes: Array.isArray,
  rev: isRev, cursor: (value) => isText(value) && value.startsWith('c1.'), hasMore: isFlag, reset: isFlag, horizon: isDate,
}
const OPTIONAL = {
  replayed: isFlag, rev: isRev, recordId: isText, code: isText, message: isText, path: (value) => value === '' || isText(value) && value.startsWith('/'),
  retryAfterMs: isRev, clamped: isFlag, record: isRow, archived: isRow,
}

/** A version with its envelope, as it is stored. */
function isRow(row) {
  return row !== null && typeof row === 'object' && isText(row.id) && isDate(row._updatedAt) && isRev(row._rev) && (row._deletedAt == null || isDate(row._deletedAt))
}

function check(kept, what, value) {
  if (!kept) throw new Error(`${what}: ${JSON.stringify(value) ?? 'it is missing'}`)
}

/** What one run has been told: answers that come later must agree with it. */
export class Told {
  /** Token to the scope it opens. */
  #scopes = new Map()
  /** `scope/collection/id/rev` to the version that a result said is stored there. */
  #stored = new Map()

  /**
   * Throws unless a device can read this answer and it agrees with those before.
   *
   * @param {{ requestId: string, mutations?: readonly object[], token: string }} request
   */
  hear(body, { requestId, mutations = [], token }) {
    check(body !== null && typeof body === 'object', 'an answer is a JSON object', body)
    for (const [name, fits] of Object.entries(MEMBERS)) check(fits(body[name]), `an answer has another "${name}"`, body[name])
    check(body.requestId === requestId, `an answer to ${requestId} has another "requestId"`, body.requestId)
    check(Math.abs(Date.parse(body.serverTime) - Date.now()) < SKEW, '"serverTime" is the server\'s clock, which is more than five minutes off', body.serverTime)
    const scope = this.#scopes.get(token) ?? body.scope
    check(body.scope === scope, `one token opens one scope, ${scope}`, body.scope)
    this.#scopes.set(token, scope)
    // After a cursor that was refused nothing of the request is evaluated.
    if (!body.reset || body.results.length > 0) this.#results(body, mutations)
    this.#changes(body)
  }

  #results({ results, rev, scope }, mutations) {
    check(results.length >= mutations.length, `one result for each of ${mutations.length} mutations, in their order`, results)
    for (const [at, result] of results.entries()) {
      const what = `the result of ${result?.id}`
      check(STATUSES.includes(result?.status) && isText(result.id), `${what} has no status that there is`, result)
      for (const [name, fits] of Object.entries(OPTIONAL)) check(result[name] === undefined || fits(result[name]), `${what} has another "${name}"`, result[name])
      check(result.status !== 'rejected' || isText(result.code) && isText(result.message), `${what}: a refusal says why, with code and message`, result)
      const mutation = mutations[at]
      if (mutation === undefined) continue // of a row that was pushed without a mutation
      check(result.id === mutation.id, `one result for each mutation, in their order: here ${mutation.id}`, result)
      if (!TOLD.includes(result.status)) continue
      check(isRev(result.rev) && result.rev <= rev, `${what}: "rev" of the record, at most that of the answer (${rev})`, result)
      check(!result.clamped || result.record !== undefined, `${what}: clamped, and no "record" with the new stamp`, result)
      check(result.record === undefined || result.record._rev === result.rev, `${what}: "record" is of another "_rev"`, result)
      const stored = result.record ?? { ...mutation.record, _updatedAt: mutation.updatedAt }
      const place = [scope, mutation.collection, result.recordId ?? mutation.recordId, result.rev].join('/')
      const before = this.#stored.get(place)
      check(before === undefined || isDeepStrictEqual(version(stored), before), `${what} says by ${result.record === undefined ? 'having no' : 'its'} "record" that another version is stored than it was told before: ${JSON.stringify(before)}`, stored)
      this.#stored.set(place, version(stored))
    }
  }

  #changes({ changes, rev, scope }) {
    let last = 0
    for (const run of changes) {
      check(isText(run?.collection) && Array.isArray(run.records), 'changes are collections with their records', run)
      for (const row of run.records) {
        const what = `a row of ${run.collection}`
        check(isRow(row), `${what} without id, _updatedAt, _deletedAt or _rev as they must be`, row)
        check(row._rev > last, `${what}: "_rev" rises within a page, and is above ${last}`, row)
        check(row._rev <= rev, `${what}: its "_rev" is above that of the answer (${rev})`, row)
        last = row._rev
        const told = this.#stored.get([scope, run.collection, row.id, row._rev].join('/'))
        check(told === undefined || isDeepStrictEqual(version(row), told), `${what}: a result said (by "record", or by having none) that under _rev ${row._rev} is ${JSON.stringify(told)}`, row)
      }
    }
  }
}

/** Throws unless a request was refused like this, in the words of the protocol. */
export function refused({ status, body }, expected, code) {
  check(status === expected && body?.error?.code === code, `expected ${expected} ${code}`, { status, body })
  const { message, phase, requestId, retryable } = body.error
  check(isText(message) && typeof phase === 'string' && typeof requestId === 'string' && isFlag(retryable), 'a failure has code, message, phase, requestId, retryable', body)
}
