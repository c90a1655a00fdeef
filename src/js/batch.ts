// A batch: operations gathered by a function, then written in one step. Reads inside see what the batch has gathered; nobody
// else does before it is written.

import { HomingError, toHomingError } from './errors.js'
import { applyChange, batchLines, deleteOperation, namedInsertOperation, putOperation, setOperation, updateOperation, type Operation } from './operations.js'
import { select, type AnyRow } from './query.js'
import type { Session } from './session.js'
import type { Batch, Collection, Query, Singleton, Verdict, Write } from './types.js'
import { SINGLETON, copy, freeze, isReserved, type Members } from './values.js'
import { Awaited } from './verdicts.js'
import { CANCELLED, Deferred, GroupTicket, RecordWrite, RefusedWrite, refuse } from './writes.js'

type Schema = { [name: string]: Members }
type BatchCollection = ReturnType<Batch<Schema>['collection']>
type BatchSingleton = ReturnType<Batch<Schema>['singleton']>

/** One operation of a batch: a promise of its own, resolved with the batch. */
class Part<R> extends Deferred<R, Verdict> {
  /** The write it became; before that, the draft is its record. */
  written: RecordWrite<R> | null = null

  constructor(readonly recordId: string, readonly draft: AnyRow | undefined) {
    super()
    // The batch itself rejects; a part that nobody looks at is no unhandled rejection.
    this.catch(() => {})
  }

  get record(): R {
    return this.written === null ? this.draft as R : this.written.record
  }

  /** The batch was refused. */
  fail(error: HomingError): void {
    this.written?.drop()
    this.reject(error)
    this.judge(CANCELLED)
  }
}

interface Gathered { readonly collection: string; readonly operation: Operation; readonly part: Part<unknown>; readonly reads: boolean }

/** One operation and what the batch will show for it. */
type Made = Omit<Gathered, 'collection' | 'part'> & { readonly id: string; readonly draft: AnyRow | undefined }

class Gathering implements Batch<Schema> {
  readonly gathered: Gathered[] = []
  /** The first refusal: then nothing is written. */
  refused: HomingError | null = null
  closed = false
  readonly #session: Session
  /** What the batch made of records: undefined where it deleted them. */
  readonly #drafts = new Map<string, Map<string, AnyRow | undefined>>()

  constructor(session: Session) {
    this.#session = session
  }

  collection(name: string): BatchCollection {
    const write = <R>(make: () => Made): Write<R> => this.#write(name, make)
    const get = (id: string): AnyRow | undefined => this.#get(name, id)
    return {
      get,
      list: (query?: Query<Members>) => this.#list(name, query),
      insert: (record: object) => write<AnyRow>(() => {
        const { operation, made } = namedInsertOperation(name, record, () => this.#session.newId(name))
        return { id: made.id, draft: this.#draft(name, undefined, made, made.id), operation, reads: true }
      }),
      put: (record: object) => write<AnyRow>(() => {
        const { id, operation } = putOperation(name, record)
        return { id, draft: this.#draft(name, undefined, record as Members, id), operation, reads: true }
      }),
      update: (id: string, change: object | ((row: AnyRow) => object)) => write<AnyRow>(() => {
        const row = get(id)
        const patch = applyChange(change, row, name, id)
        const operation = updateOperation(name, id, patch, undefined, this.#now(name, id))
        return { id, draft: this.#draft(name, row, patch as Members, id), operation, reads: true }
      }),
      delete: (id: string) => write<void>(() => ({ id, draft: undefined, operation: deleteOperation('delete', name, id), reads: false })),
      undelete: (id: string) => write<AnyRow>(() => {
        const operation = deleteOperation('undelete', name, id)
        const before = this.#session.rows(name).peek(id)
        return { id, draft: before && this.#draft(name, undefined, before, id), operation, reads: true }
      }),
    } satisfies Pick<Collection<Members>, keyof BatchCollection>
  }

  singleton(name: string): BatchSingleton {
    const records = this.collection(name)
    return {
      get: () => records.get(SINGLETON),
      set: (value: object) => this.#write<AnyRow>(name, () => ({ id: SINGLETON, operation: setOperation(name, value), draft: draftOf(undefined, value as Members, SINGLETON), reads: true })),
      update: (change: object | ((row: AnyRow) => object)) => records.update(SINGLETON, change as Members),
    } satisfies Pick<Singleton<Members>, keyof BatchSingleton>
  }

  #write<R>(name: string, make: () => Made): Write<R> {
    try {
      if (this.closed) throw new HomingError({ code: 'closed', message: 'The batch is over; its function has to be synchronous.', phase: 'write' })
      this.#session.lazy.need(name, 'write')
      const { id, draft, operation, reads } = make()
      const part = new Part<R>(id, draft)
      this.#draftsOf(name).set(this.#now(name, id), draft)
      this.gathered.push({ collection: name, operation, reads, part: part as Part<unknown> })
      return part
    } catch (error) {
      this.refused ??= toHomingError(error, 'write')
      const refusal = refuse<R>(this.refused, '')
      refusal.catch(() => {})
      return refusal
    }
  }

  #draftsOf(name: string): Map<string, AnyRow | undefined> {
    let drafts = this.#drafts.get(name)
    if (drafts === undefined) this.#drafts.set(name, drafts = new Map())
    return drafts
  }

  #get(name: string, id: string): AnyRow | undefined {
    this.#session.lazy.need(name, 'apply')
    const drafts = this.#drafts.get(name)
    const now = this.#now(name, id)
    return drafts?.has(now) ? drafts.get(now) : this.#session.rows(name).get(id)
  }

  /** Drafts are kept under the id that the record has now: an older one names the same record. */
  #now(name: string, id: string): string {
    return this.#session.rows(name).now(id)
  }

  #draft(name: string, before: AnyRow | undefined, change: Members, id: string): AnyRow {
    return draftOf(before, change, this.#now(name, id))
  }

  #list(name: string, query: Query<Members> | undefined): readonly AnyRow[] {
    this.#session.lazy.need(name, 'apply')
    const rows = this.#session.rows(name)
    const drafts = new Map(this.#drafts.get(name))
    const seen: AnyRow[] = []
    for (const row of rows.all()) {
      const now = drafts.has(row.id) ? drafts.get(row.id) : row
      drafts.delete(row.id)
      if (now !== undefined) seen.push(now)
    }
    for (const draft of drafts.values()) if (draft !== undefined) seen.push(draft)
    return select(Object.freeze(seen), query)
  }
}

/** The row as the batch sees it: content as given, a stamp that the real one will replace. */
function draftOf(before: AnyRow | undefined, change: Members, id: string): AnyRow {
  const row: Members = { id }
  for (const [name, value] of [...Object.entries(before ?? {}), ...Object.entries(change)]) {
    if (isReserved(name)) continue
    if (value === undefined) delete row[name]
    else row[name] = copy(value)
  }
  return freeze({ ...row, id, _updatedAt: new Date().toISOString() })
}

/** Runs `work` and writes what it gathered, in one step. */
export function runBatch<R>(session: Session, work: (tx: Batch<Schema>) => R, atomic: boolean): Promise<R> & { readonly settled: Promise<readonly Verdict[]> } {
  const gathering = new Gathering(session)
  const { gathered } = gathering
  const give = (error: HomingError): void => {
    for (const { part } of gathered) part.fail(error)
  }
  try {
    const value = callWork(gathering, work)
    gathering.closed = true
    if (gathering.refused !== null) throw gathering.refused
    if (gathered.length === 0) {
      session.open('write')
      const done = new Deferred<R, readonly Verdict[]>()
      done.resolve(value)
      done.judge([])
      return done
    }
    for (const { collection, part } of gathered) session.rows(collection).readUnread(part.recordId)
    return session.write(batchLines(gathered.map(({ operation }) => operation), { atomic }), () => {
      for (const { collection, part, reads } of gathered) part.written = new RecordWrite<unknown>(session.rows(collection), part.recordId, QUIET, reads)
      return new BatchTicket(session, gathered, value, give)
    })
  } catch (error) {
    gathering.closed = true
    const refusal = toHomingError(error, 'write')
    give(refusal)
    return new RefusedWrite<R, readonly Verdict[]>(refusal, '', [])
  }
}

/** The batch tells its parts. */
const QUIET = { verdictOf: () => new Awaited() }

/** Resolves the batch and every part of it. */
class BatchTicket<R> extends GroupTicket<R> {
  constructor(session: Session, gathered: readonly Gathered[], value: R, give: (error: HomingError) => void) {
    const judge = {
      watch: (collection: string, spans: Parameters<Session['watch']>[1], done: Parameters<Session['watch']>[2]) => {
        const part = gathered[next++]?.part
        session.watch(collection, spans, (verdicts) => {
          if (verdicts[0] !== undefined) part?.judge(verdicts[0])
          done(verdicts)
        })
      },
    }
    let next = 0
    super(judge, gathered.map(({ collection }) => collection), {
      durable: () => {
        for (const { part } of gathered) part.resolve(part.record)
        return value
      },
      failed: give,
    })
  }
}

/** An exception of the app becomes ours, with the original as its cause. What a promise writes later is no part of the batch: half of it would be. */
function callWork<R>(gathering: Gathering, work: (tx: Batch<Schema>) => R): R {
  try {
    const value = work(gathering)
    // One of the batch's own writes may be what a short function gives back: nothing is left to do in that.
    if (!isThenable(value) || gathering.gathered.some(({ part }) => part === value as unknown)) return value
    // Its failure follows from this one: what it writes after the first `await` is refused.
    value.then(undefined, () => {})
    throw gathering.refused ?? new HomingError({ code: 'invalid-record', message: 'The function given to batch has to be synchronous, and returned a promise; nothing was written. Wait for what it needs before the batch.', phase: 'write' })
  } catch (error) {
    if (error instanceof HomingError) throw error
    throw gathering.refused ?? new HomingError({ code: 'aborted', message: 'The function given to batch failed; nothing was written.', phase: 'write', cause: error })
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
