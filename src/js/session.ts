// One opened engine and everything of the page that hangs on it: what it says is taken in before the next read, and told to
// listeners in a microtask. Not here: the public objects (`database.ts`, `collection.ts`), opening and counting (`opening.ts`).

import { Asking, type AskingGround, type AskingHost } from './asking.js'
import { isOnlyEdits, joinChanges } from './changes.js'
import { read, type Answer, type Change, type Drained, type Engine, type ImportCounts, type OpResult, type Spans, type Written } from './engine.js'
import { HomingError, abortError, closedError, isErrorDetail, reportCallbackError, toHomingError, type Phase } from './errors.js'
import { Lazy } from './lazy.js'
import { Reports } from './reports.js'
import { RoomSource } from './room.js'
import { Rows } from './rows.js'
import type { Declaration } from './options.js'
import { StatusSource } from './status.js'
import type { AnyRow } from './query.js'
import type { Choice, Conflict, EventMap, RecordState, Verdict } from './types.js'
import { Verdicts, type Awaited } from './verdicts.js'
import { toBytes } from './utf8.js'
import type { Made } from './operations.js'
import { freeze, type Members } from './values.js'
import type { Judge, JudgeOfOne, Ticket } from './writes.js'

const LOCAL: Verdict = Object.freeze({ status: 'local' })
const NOTHING_TO_SEND: Verdict = Object.freeze({ status: 'cancelled', mutationId: null })

export class Session implements Judge, JudgeOfOne, AskingHost {
  readonly name: string
  readonly scope: string
  readonly declaration: Declaration
  readonly events = new EventTarget()
  readonly status: StatusSource
  readonly room: RoomSource
  readonly reports: Reports
  readonly asking: Asking
  readonly lazy: Lazy
  /** Ends when the session does: everything outside that was waited for. */
  readonly ended = new AbortController()
  #engine: Engine | null = null
  #clientId = ''
  #dirty = false
  #scheduled = false
  /** False while the session itself looks at rows. */
  #reads = true
  #delivering: (() => void)[] = []
  /** Calls that wait inside the engine, perhaps for a function of the app. */
  readonly #calls = new Set<Promise<unknown>>()
  readonly #rows = new Map<string, Rows>()
  #counts: { readonly [name: string]: number } | null = null
  readonly #tickets = new Map<number, Ticket>()
  /** Collections with rows that were shown before the engine has said so. */
  readonly #ahead = new Set<Rows>()
  /** Tickets whose rows nobody fetched yet. */
  #fresh: Ticket[] = []
  readonly #verdicts = new Verdicts()

  constructor(declaration: Declaration, ground?: AskingGround) {
    this.declaration = declaration
    this.name = declaration.name
    this.scope = declaration.scope
    this.lazy = new Lazy(declaration, this)
    this.asking = new Asking(this, ground)
    this.room = new RoomSource(declaration.durable, (lost) => this.#tellRoom(lost))
    this.status = new StatusSource(this)
    this.reports = new Reports(this)
  }

  /** The engine is there. */
  attach(engine: Engine): void {
    this.#engine = engine
    this.#clientId = engine.clientId()
    this.touch()
  }

  get engine(): Engine | null {
    return this.#engine
  }

  get clientId(): string {
    return this.#clientId
  }

  /** Notes a call that may still wait inside the engine when the session ends. */
  during<T>(call: Promise<T>): Promise<T> {
    const over = (): void => { this.#calls.delete(call) }
    this.#calls.add(call)
    call.then(over, over)
    return call
  }

  /** When no call is left in the engine: at the latest with the time-out of a request. */
  async quiet(): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls)
  }

  /** The rows of a collection, one object each. */
  rows(collection: string): Rows {
    let rows = this.#rows.get(collection)
    if (rows === undefined) this.#rows.set(collection, rows = new Rows(collection, this))
    return rows
  }

  /** Known collections and how many live rows each has. Counted anew unless records were edited and nothing else happened. */
  counts(): { readonly [name: string]: number } {
    this.refresh()
    if (this.#engine === null) return {}
    return this.#counts ??= JSON.parse(this.#engine.collections()) as { [name: string]: number }
  }

  /** How a collection was declared to merge. */
  policy(collection: string): string | undefined {
    return this.declaration.collections[collection]?.merge
  }

  ownConflicts(): readonly string[] {
    this.refresh()
    return this.#engine === null ? [] : JSON.parse(this.#engine.ownConflicts()) as string[]
  }

  conflict(id: string): Conflict | undefined {
    return this.reports.conflicts.get(id)
  }

  resolve(id: string, choice: Choice<Members>): Promise<unknown> {
    return this.reports.conflicts.resolve(id, choice)
  }

  async catchUp(): Promise<void> {
    if (this.#engine !== null) await this.during(this.#engine.catchUp())
  }

  /** The browser closed the connection, or another tab wants it closed. */
  gone(how: 'closed' | 'deleted' | 'outdated'): void {
    if (how === 'outdated') this.dispatch('outdated', Object.freeze({ reason: 'newer-version-in-other-tab' }))
    // Is it still there? Whoever asks finds out.
    else this.catchUp().catch((thrown: unknown) => { this.failure(thrown, 'storage') })
  }

  /** An id for a new record: for good, or until the server gives one. */
  newId(collection: string): string {
    return this.open('write').newId(collection)
  }

  /** The id a record had first on this device. */
  keyOf(collection: string, id: string): string {
    if (this.declaration.collections[collection]?.ids !== 'server' || typeof id !== 'string') return id
    this.refresh()
    return this.#engine?.firstId(this.rows(collection).now(id)) ?? id
  }

  /** Whether ids of a collection may change: its server gives them. */
  remaps(collection: string): boolean {
    return this.declaration.collections[collection]?.ids === 'server'
  }

  stateOf(collection: string, id: string): RecordState {
    this.refresh()
    if (this.#engine === null || typeof id !== 'string') return 'local'
    return this.#engine.state(collection, id) as RecordState
  }

  confirmed(collection: string, id: string): AnyRow | undefined {
    this.refresh()
    if (typeof id !== 'string') return undefined
    const text = this.#engine?.confirmed(collection, id)
    return text === undefined ? undefined : freeze(JSON.parse(text) as AnyRow)
  }

  /**
   * Plans operations: visible at once, all or none. `make` gets one result per operation and makes what to tell later.
   *
   * @throws HomingError
   */
  write<T extends Ticket>(batch: readonly string[], make: (results: readonly OpResult[], counts: ImportCounts) => T): T {
    return this.order((engine) => engine.write(toBytes(batch)), make)
  }

  /** The same for every engine method that answers like `write`. */
  order<T extends Ticket>(call: (engine: Engine) => Answer<Written>, make: (results: readonly OpResult[], counts: ImportCounts) => T): T {
    const engine = this.open('write')
    const written = this.guard('write', () => read(call(engine)))
    return this.#issue(written.ticket, make(written.results, written))
  }

  /**
   * The same for one operation on a record whose id is known.
   *
   * @throws HomingError
   */
  writeKnown<T extends Ticket>(batch: readonly string[], make: () => T): T {
    const engine = this.open('write')
    return this.issue(() => engine.writeKnown(toBytes(batch)), make)
  }

  /**
   * The same for new records that are here already: nobody reads back what the page has, where the engine keeps it as it is.
   *
   * @throws HomingError
   */
  insertKnown<T extends Ticket>(batch: readonly string[], rows: Rows, made: readonly Made[], make: () => T): T {
    const engine = this.open('write')
    const [number = 0, at = NaN] = this.guard('write', () => engine.insertKnown(toBytes(batch), rows.name, made))
    if (Number.isNaN(at)) return this.#issue(number, make())
    rows.expect(made, new Date(at).toISOString())
    this.#ahead.add(rows)
    return this.#issue(number, make())
  }

  /** How many new records are taken piece by piece, for `issue`; null where they are not. */
  get insertsInPieces(): ((collection: string, made: readonly Made[]) => number) | null {
    const engine = this.#engine
    return engine?.insertInPieces?.bind(engine) ?? null
  }

  /**
   * Any call into the engine that answers with a ticket.
   *
   * @throws HomingError
   */
  issue<T extends Ticket>(call: () => number, make: () => T): T {
    return this.#issue(this.guard('write', call), make())
  }

  #issue<T extends Ticket>(number: number, ticket: T): T {
    this.touch()
    this.#tickets.set(number, ticket)
    this.#fresh.push(ticket)
    return ticket
  }

  /** The engine, or `closed`. */
  open(phase: Phase): Engine {
    if (this.#engine === null) throw closedError(phase)
    return this.#engine
  }

  /** Calls into the engine; what it throws becomes a `HomingError`. */
  guard<T>(phase: Phase, call: () => T): T {
    try {
      return call()
    } catch (thrown) {
      throw this.failure(thrown, phase)
    }
  }

  /** Makes the error of a failed call; after a trap nothing works any more, so everybody who waits is told. */
  failure(thrown: unknown, phase: Phase): HomingError {
    const error = toHomingError(thrown, phase)
    if (error.code === 'engine-crashed' && this.#engine !== null) this.#crash(error)
    return error
  }

  checkSignal(signal: AbortSignal | undefined, phase: Phase): void {
    if (signal?.aborted) throw abortError(signal, phase)
  }

  verdictOf(collection: string, spans: Spans): Awaited {
    const local = this.#keeps(collection) || stayed(spans)
    return this.#verdicts.of(local ? [] : spans, local ? LOCAL : NOTHING_TO_SEND)
  }

  watch(collection: string, spans: Spans, done: (verdicts: readonly Verdict[]) => void): void {
    const local = this.#keeps(collection) || stayed(spans)
    this.#verdicts.watch(local ? spans.flatMap((span) => new Array<null>(span?.count || 1).fill(null)) : spans, local ? LOCAL : NOTHING_TO_SEND, done)
  }

  /** Whether its rows stay here: without a server nobody would ever answer. */
  #keeps(collection: string): boolean {
    const { syncs, collections } = this.declaration
    return !syncs || collections[collection]?.sync === false
  }

  /** Runs a callback of the user in a microtask; what it throws stops nobody. */
  later(callback: () => void): void {
    queueMicrotask(() => {
      try {
        callback()
      } catch (error) {
        reportCallbackError(error)
      }
    })
  }

  /** Something may have happened: look before the next read, and in a microtask at the latest. */
  touch(): void {
    this.#dirty = true
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#takeNews()
      this.#fetchWritten()
      this.#deliver()
    })
  }

  /** Reads what was written while the browser makes it durable: then the promises need not wait for that, too. */
  #fetchWritten(): void {
    if (this.#fresh.length === 0 || this.#engine === null) return
    const wanted = new Map<Rows, string[]>()
    for (const ticket of this.#fresh) ticket.want?.(wanted)
    this.#fresh = []
    // None of them is of an insert that is under way.
    this.#reads = false
    try {
      for (const [rows, ids] of wanted) rows.getMany(ids)
    } finally {
      this.#reads = true
    }
  }

  /** What somebody who looks now sees. Cheap when nothing happened. */
  refresh(): void {
    if (this.#reads) this.#engine?.insertsNow?.()
    this.#takeNews()
  }

  #takeNews(): void {
    if (!this.#dirty || this.#engine === null) return
    this.#dirty = false
    try {
      const plain = this.#engine.drainPlain()
      if (plain === undefined) this.#takeIn(read(this.#engine.drain()))
      else this.#land(plain)
    } catch (thrown) {
      this.failure(thrown, 'apply')
    }
    this.#expectNothing()
  }

  #expectNothing(): void {
    for (const rows of this.#ahead) rows.expectNothing()
    this.#ahead.clear()
  }

  dispatch<K extends keyof EventMap>(type: K, detail: EventMap[K]): void {
    this.#tell(() => this.events.dispatchEvent(new CustomEvent(type, { detail })))
  }

  /** Nothing is open any more; what was read stays readable. */
  end(): void {
    if (this.#engine === null) return
    for (const rows of this.#rows.values()) rows.keep()
    this.touch()
    this.refresh()
    this.#engine = null
    this.room.end()
    for (const ticket of this.#tickets.values()) ticket.fail(closedError())
    this.#tickets.clear()
    this.#verdicts.close()
    this.#tell(() => this.status.changed())
    this.ended.abort()
  }

  #takeIn(drained: Drained): void {
    // Planned again, a record has another stamp.
    const own = drained.replanned ? this.#own().map((change) => ({ ...change, rows: undefined })) : this.#own()
    const changes = [...own, ...drained.changes ?? []]
    if (!isOnlyEdits(changes)) this.#counts = null
    for (const change of joinChanges(changes)) this.#apply(change)
    this.#resolve(drained)
    for (const { type, detail } of drained.events ?? []) this.#raise(type, detail)
    for (const [from, to] of drained.resent ?? []) this.#verdicts.move(from, to)
    for (const { mutationId, verdict, count } of drained.settled ?? []) {
      const error = isErrorDetail(verdict.error) ? { error: toHomingError(JSON.stringify(verdict.error), 'push') } : {}
      this.#verdicts.settle(mutationId, { ...verdict, ...error } as Verdict, count)
    }
    this.#changed(drained.status === true, drained.conflicts === true)
    if (drained.deadLetters) this.#tell(() => this.reports.deadLetters.changed())
  }

  #changed(status: boolean, conflicts: boolean): void {
    if (status) this.#tell(() => this.status.changed())
    if (conflicts) this.#tell(() => this.#conflictsChanged())
  }

  /** What the page shows itself. */
  #own(): Change[] {
    return Array.from(this.#ahead, (rows) => rows.expected())
  }

  #conflictsChanged(): void {
    this.reports.conflicts.changed()
    this.asking.look()
  }

  #apply(change: Change): void {
    if (change.all) this.lazy.arrived(change.collection)
    const rows = this.#rows.get(change.collection)
    if (rows === undefined) return
    const delivery = rows.apply(change)
    if (rows.changed.size > 0) this.#tell(() => rows.changed.emit(delivery))
  }

  #resolve({ became, durable, failed }: Drained): void {
    for (const { ticket, id } of became ?? []) this.#tickets.get(ticket)?.became?.(id)
    for (const { ticket, mutations } of durable ?? []) {
      this.#tickets.get(ticket)?.durable(mutations)
      this.#tickets.delete(ticket)
    }
    for (const { ticket, error } of failed ?? []) {
      if (error.code === 'storage-full') void this.room.ask()
      this.#tickets.get(ticket)?.fail(toHomingError(JSON.stringify(error), 'storage'))
      this.#tickets.delete(ticket)
    }
  }

  #land(plain: Float64Array): void {
    const own = this.#own()
    if (own.length > 0) this.#counts = null
    for (const change of own) this.#apply(change)
    const what = plain[0] as number
    this.#changed((what & 1) !== 0, (what & 2) !== 0)
    for (let at = 1; at < plain.length; at += 2) {
      const ticket = plain[at] as number
      const mutation = plain[at + 1]
      this.#tickets.get(ticket)?.durable([mutation === 0 ? null : { first: `${this.#clientId}:${mutation}`, count: 1 }])
      this.#tickets.delete(ticket)
    }
  }

  #raise(type: string, detail: unknown): void {
    switch (type) {
      case 'lost':
        return this.room.lost((detail as { message: string }).message)
      case 'autherror':
      case 'error':
        return this.dispatch(type, toHomingError(JSON.stringify(detail), 'push'))
      default:
        return this.dispatch(type as 'sync', freeze(detail as EventMap['sync']))
    }
  }

  #tellRoom(lost: boolean): void {
    this.dispatch('storage', Object.freeze({ ...this.room.room, lost }))
    this.#tell(() => this.status.changed())
  }

  #tell(delivery: () => void): void {
    this.#delivering.push(delivery)
    this.#schedule()
  }

  #deliver(): void {
    while (this.#delivering.length > 0) {
      const now = this.#delivering
      this.#delivering = []
      for (const delivery of now) {
        try {
          delivery()
        } catch (error) {
          // Listeners are shielded one by one; this is a snapshot that a query of the user failed to make.
          reportCallbackError(error)
        }
      }
    }
  }

  #crash(error: HomingError): void {
    const engine = this.#engine
    this.#engine = null
    engine?.abandon?.(error)
    for (const ticket of this.#tickets.values()) ticket.fail(error)
    this.#tickets.clear()
    this.#verdicts.close()
    this.status.fail(error)
    this.dispatch('error', error)
    this.#tell(() => this.status.changed())
    this.ended.abort()
  }
}

/** Whether a write changed only what stays on this device: a run of no mutations. */
function stayed([span]: Spans): boolean {
  return span?.count === 0
}
