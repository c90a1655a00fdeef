// Writes as promises: the record at once, resolved when durable, `settled` when the server has judged. Not here: how an
// operation is put together (`collection.ts`, `batch.ts`, `document/`) and when its ticket comes back (`session.ts`).

import type { Spans } from './engine.js'
import type { HomingError } from './errors.js'
import type { AnyRow } from './query.js'
import type { Rows, Unread } from './rows.js'
import type { Verdict, Write } from './types.js'
import type { Awaited } from './verdicts.js'

/** What the session knows about a write until it is durable. */
export interface Ticket {
  /** Names the rows it will read, so that they are fetched together. */
  want?(wanted: Map<Rows, string[]>): void
  /** It is about this record; before it is durable. */
  became?(recordId: string): void
  durable(spans: Spans): void
  fail(error: HomingError): void
}

/** Judges a write's mutations later; `session.ts` is one. */
export interface Judge {
  watch(collection: string, spans: Spans, done: (verdicts: readonly Verdict[]) => void): void
}

/** The same for the write of one record. */
export interface JudgeOfOne {
  verdictOf(collection: string, spans: Spans): Awaited
}

/** The verdict on what was never written. */
export const CANCELLED: Verdict = { status: 'cancelled', mutationId: null }

/** A promise with its handles, and a second, lazily made one for the verdict. */
export class Deferred<R, V> extends Promise<R> {
  // What `then` makes is an ordinary promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  readonly resolve: (value: R) => void
  readonly reject: (error: HomingError) => void
  #verdict: { readonly value: V } | null = null
  #settled: Promise<V> | null = null
  #tell: ((verdict: V) => void) | null = null

  constructor() {
    let resolve: (value: R) => void = () => {}
    let reject: (error: HomingError) => void = () => {}
    super((yes, no) => {
      resolve = yes
      reject = no
    })
    this.resolve = resolve
    this.reject = reject
  }

  get settled(): Promise<V> {
    return this.#settled ??= this.#verdict === null ? new Promise((tell) => { this.#tell = tell }) : Promise.resolve(this.#verdict.value)
  }

  /** The verdict is there. */
  judge(verdict: V): void {
    this.#verdict = { value: verdict }
    this.#tell?.(verdict)
  }
}

/** The write of one record. */
export class RecordWrite<R> extends Deferred<R, Verdict> implements Write<R>, Ticket, Unread {
  recordId: string
  readonly #rows: Rows
  readonly #judge: JudgeOfOne
  #unread: boolean
  #row: AnyRow | undefined
  #awaited: Awaited | null = null
  #asked = false

  readonly #placed: (error: HomingError) => HomingError

  /**
   * @param reads false for a delete: there is no record to show
   * @param placed says where in the record a refusal that comes later points to
   */
  constructor(rows: Rows, recordId: string, judge: JudgeOfOne, reads: boolean, placed = (error: HomingError): HomingError => error) {
    super()
    this.#placed = placed
    this.#rows = rows
    this.#judge = judge
    this.recordId = recordId
    this.#unread = reads
    if (reads) rows.unread.set(recordId, this)
  }

  get record(): R {
    this.read()
    return this.#row as R
  }

  read(): void {
    if (!this.#unread) return
    this.drop()
    this.#row = this.#rows.get(this.recordId)
  }

  want(wanted: Map<Rows, string[]>): void {
    if (this.#unread) wantIds(wanted, this.#rows, [this.recordId])
  }

  became(recordId: string): void {
    this.drop()
    this.recordId = recordId
    this.#unread = true
  }

  durable(spans: Spans): void {
    this.resolve(this.record)
    this.#awaited = this.#judge.verdictOf(this.#rows.name, spans)
    if (this.#asked) this.#listen()
  }

  /** Nobody is told, and nothing is kept for it, before somebody asks. */
  override get settled(): Promise<Verdict> {
    this.#asked = true
    this.#listen()
    return super.settled
  }

  #listen(): void {
    this.#awaited?.tell((verdict) => this.judge(verdict))
    this.#awaited = null
  }

  fail(error: HomingError): void {
    this.drop()
    this.reject(this.#placed(error))
    this.judge(CANCELLED)
  }

  /** It need not be read any more. */
  drop(): void {
    const { unread } = this.#rows
    // A later write of the same record may have taken the place.
    if (this.#unread && unread.get(this.recordId) === this) unread.delete(this.recordId)
    this.#unread = false
  }
}

/** The write of many new records. */
export class ManyWrite<R> extends Deferred<readonly R[], readonly Verdict[]> implements Ticket, Unread {
  readonly recordId: string
  readonly recordIds: readonly string[]
  readonly #rows: Rows
  readonly #judge: Judge
  #records: readonly R[] | null = null

  constructor(rows: Rows, recordIds: readonly string[], judge: Judge) {
    super()
    this.#rows = rows
    this.#judge = judge
    this.recordIds = recordIds
    this.recordId = recordIds[0] ?? ''
    rows.unreadMany.add(this)
  }

  get record(): readonly R[] {
    this.read()
    return this.#records ?? []
  }

  read(): void {
    if (this.#records !== null) return
    this.#rows.unreadMany.delete(this)
    this.#records = Object.freeze(this.#rows.getMany(this.recordIds)) as unknown as readonly R[]
  }

  durable(spans: Spans): void {
    this.resolve(this.record)
    this.#judge.watch(this.#rows.name, spans, (verdicts) => this.judge(verdicts))
  }

  fail(error: HomingError): void {
    this.#rows.unreadMany.delete(this)
    this.#records = []
    this.reject(error)
    this.judge(this.recordIds.map(() => CANCELLED))
  }
}

/** A write that was refused before anything was written: rejects, has no record, is never judged. */
export class RefusedWrite<R, V> extends Deferred<R, V> {
  readonly recordId: string
  readonly recordIds: readonly string[] = []

  constructor(error: HomingError, recordId: string, verdict: V) {
    super()
    this.recordId = recordId
    this.reject(error)
    this.judge(verdict)
  }

  get record(): R {
    return undefined as R
  }
}

/** A refused write of one record. */
export function refuse<R>(error: HomingError, recordId: unknown): Write<R> {
  return new RefusedWrite<R, Verdict>(error, typeof recordId === 'string' ? recordId : '', CANCELLED)
}

/** Several operations of one ticket, as one promise. */
export class GroupTicket<R> extends Deferred<R, readonly Verdict[]> implements Ticket {
  /** @param collections the collection of each operation */
  constructor(readonly judgement: Judge, readonly collections: readonly string[], readonly outcome: { durable(): R; failed?(error: HomingError): void }) {
    super()
  }

  durable(spans: Spans): void {
    this.resolve(this.outcome.durable())
    const verdicts: (readonly Verdict[])[] = []
    let missing = this.collections.length
    if (missing === 0) this.judge([])
    this.collections.forEach((collection, at) => {
      this.judgement.watch(collection, [spans[at] ?? null], (list) => {
        verdicts[at] = list
        if (--missing === 0) this.judge(verdicts.flat())
      })
    })
  }

  fail(error: HomingError): void {
    this.outcome.failed?.(error)
    this.reject(error)
    this.judge(this.collections.map(() => CANCELLED))
  }
}

function wantIds(wanted: Map<Rows, string[]>, rows: Rows, ids: readonly string[]): void {
  const list = wanted.get(rows)
  if (list === undefined) wanted.set(rows, [...ids])
  else list.push(...ids)
}
