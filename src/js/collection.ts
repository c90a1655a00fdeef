// A collection as the app sees it: reads over `rows.ts`, writes as operations, and the three things to follow: all rows, a
// query, one record. Not here: singletons, batches, documents.

import { HomingError, toHomingError } from './errors.js'
import type { Lazy } from './lazy.js'
import { Source } from './observable.js'
import { applyChange, batchLines, deleteOperation, insertManyOperation, insertOperation, insertableRecords, putOperation, setOperation, updateOperation, type Made, type Operation } from './operations.js'
import { difference, keepIdentity, select, type AnyRow } from './query.js'
import type { Rows } from './rows.js'
import type { Session } from './session.js'
import type { Changes, Collection, Observable, Options, Query, RecordState, Verdict, Write, WriteOptions } from './types.js'
import { ROW_PREFIX, SINGLETON, type Members } from './values.js'
import { ManyWrite, RecordWrite, RefusedWrite, refuse, type Ticket } from './writes.js'

const NONE: readonly AnyRow[] = Object.freeze([])
/** From so many new records on it is worth taking breaks, where the engine can. */
const LARGE = 500

/** Everything below is written for records of any type; `database.ts` gives it the types of the schema. */
export class RecordCollection implements Collection<Members> {
  readonly name: string
  readonly #session: Session
  readonly #rows: Rows
  readonly #all: Source<readonly AnyRow[], Changes<Members>>
  /** Following the rows costs reading the changed ones, so only while somebody listens. */
  #leave: (() => void) | null = null

  constructor(session: Session, rows: Rows) {
    this.#session = session
    this.#rows = rows
    this.name = rows.name
    this.#all = new Source(() => (session.lazy.isHere(rows.name) ? rows.all() : NONE), NONE)
  }

  get ready(): Promise<void> {
    return this.#session.lazy.load(this.name)
  }

  /** The rows, where they can be read at once. */
  get #here(): Rows {
    this.#session.lazy.need(this.name, 'apply')
    return this.#rows
  }

  subscribe = (listener: (change: Changes<Members>) => void, options?: { signal?: AbortSignal }): (() => void) => {
    begin(this.#session.lazy, this.name)
    this.#leave ??= this.#follow()
    return this.#all.subscribe(listener, options)
  }

  getSnapshot = (): readonly AnyRow[] => this.#all.getSnapshot()
  getServerSnapshot = (): readonly AnyRow[] => NONE

  get(id: string): AnyRow | undefined {
    return this.#here.get(id)
  }

  list(query?: Query<Members>): readonly AnyRow[] {
    return select(listed(this.#here, query), query)
  }

  count(query?: Query<Members>): number {
    return query === undefined ? this.#here.count() : this.list(query).length
  }

  query(query: Query<Members>): Observable<readonly AnyRow[], Changes<Members>> {
    return liveQuery(this.#rows, this.#session.lazy, query)
  }

  record(id: string): Observable<AnyRow | undefined, AnyRow | undefined> {
    return liveRecord(this.#rows, this.#session.lazy, id)
  }

  state(id: string): RecordState {
    return this.#session.stateOf(this.#here.name, id)
  }

  confirmed(id: string): AnyRow | undefined {
    return this.#session.confirmed(this.#here.name, id)
  }

  keyOf(id: string): string {
    return this.#session.keyOf(this.name, id)
  }

  insert(record: object, options?: WriteOptions): Write<AnyRow> {
    try {
      this.#writes()
      const { operation, made } = insertOperation(this.name, record, this.#namesRows())
      const [known = null] = made ?? []
      const id = known?.id ?? idOf(record)
      if (typeof id === 'string') this.#rows.readUnreadOf(id)
      if (known !== null && this.#isNamed(options)) return this.#show(batchLines([operation], options), [known], () => new RecordWrite<AnyRow>(this.#rows, known.id, this.#session, true, singlePath))
      return this.#order(operation, id, options, true, singlePath)
    } catch (error) {
      return refuse(singlePath(error), idOf(record))
    }
  }

  insertMany(records: readonly object[], options?: Options): Write<readonly AnyRow[], readonly Verdict[]> & { readonly recordIds: readonly string[] } {
    try {
      this.#session.checkSignal(options?.signal, 'write')
      this.#writes()
      const write = this.#insertInPieces(records) ?? this.#insertAtOnce(records)
      const { onProgress } = options ?? {}
      if (onProgress !== undefined) {
        this.#session.later(() => onProgress({ phase: 'writing', done: 0, total: records.length }))
        write.then(() => onProgress({ phase: 'durable', done: records.length, total: records.length })).catch(() => {})
      }
      return write
    } catch (error) {
      return new RefusedWrite<readonly AnyRow[], readonly Verdict[]>(toHomingError(error, 'write'), '', [])
    }
  }

  #insertAtOnce(records: readonly object[]): ManyWrite<AnyRow> {
    const { operation, made } = insertManyOperation(this.name, records)
    if (made === null || !this.#isNamed()) return this.#session.write(batchLines([operation]), ([result]) => this.#many(result?.ids ?? []))
    return this.#show(batchLines([operation]), made, () => this.#many(idsOf(this.#rows, made)))
  }

  /** Null where it is not worth it, or not possible. */
  #insertInPieces(records: readonly object[]): ManyWrite<AnyRow> | null {
    const insert = this.#session.insertsInPieces
    if (insert === null || countOf(records) < LARGE || !this.#isNamed()) return null
    const made = insertableRecords(records)
    return made && this.#session.issue(() => insert(this.name, made), () => this.#many(idsOf(this.#rows, made)))
  }

  #many(ids: readonly string[]): ManyWrite<AnyRow> {
    return new ManyWrite(this.#rows, ids, this.#session)
  }

  put(record: object, options?: WriteOptions): Write<AnyRow> {
    try {
      const { id, operation } = putOperation(this.name, record)
      return this.#send(operation, id, options)
    } catch (error) {
      return refuse(toHomingError(error, 'write'), idOf(record))
    }
  }

  /** What `set` of a singleton does. */
  setSingleton(value: object): Write<AnyRow> {
    try {
      return this.#send(setOperation(this.name, value), SINGLETON, undefined)
    } catch (error) {
      return refuse(toHomingError(error, 'write'), SINGLETON)
    }
  }

  update(id: string, change: object | ((row: AnyRow) => object), options?: WriteOptions): Write<AnyRow> {
    try {
      this.#writes()
      const patch = applyChange(change, typeof change === 'function' ? this.#rows.get(id) : undefined, this.name, id)
      return this.#send(updateOperation(this.name, id, patch, undefined, this.#rows.now(id)), id, options)
    } catch (error) {
      return refuse(toHomingError(error, 'write'), id)
    }
  }

  delete(id: string, options?: WriteOptions): Write<void> {
    try {
      return this.#send<void>(deleteOperation('delete', this.name, id), id, options, false)
    } catch (error) {
      return refuse(toHomingError(error, 'write'), id)
    }
  }

  undelete(id: string, options?: WriteOptions): Write<AnyRow> {
    try {
      return this.#send(deleteOperation('undelete', this.name, id), id, options)
    } catch (error) {
      return refuse(toHomingError(error, 'write'), id)
    }
  }

  /** What is there has to be known before it is written. */
  #writes(): void {
    this.#session.lazy.need(this.name, 'write')
  }

  #send<R = AnyRow>(operation: Operation, id: string, options: WriteOptions | undefined, reads = true): Write<R> {
    this.#writes()
    this.#rows.readUnread(id)
    return this.#order(operation, id, options, reads)
  }

  /** The engine is asked which record it was only where it may be another: a new id, a remapped one, an equal key. */
  #order<R = AnyRow>(operation: Operation, id: unknown, options: WriteOptions | undefined, reads: boolean, placed?: (error: HomingError) => HomingError): Write<R> {
    const batch = batchLines([operation], options)
    if (typeof id === 'string' && this.#isNamed(options)) return this.#session.writeKnown(batch, () => new RecordWrite<R>(this.#rows, id, this.#session, reads, placed))
    return this.#session.write(batch, ([result]) => new RecordWrite<R>(this.#rows, result?.ids[0] ?? String(id), this.#session, reads, placed))
  }

  /** Whether an id that the page knows is the one that the record has. */
  #isNamed(options?: WriteOptions): boolean {
    return options?.idempotencyKey === undefined && !this.#session.remaps(this.name)
  }

  /** New records that the page has already: nobody reads them back. */
  #show<T extends Ticket>(batch: readonly string[], made: readonly Made[], make: () => T): T {
    return this.#session.insertKnown(batch, this.#rows, made, make)
  }

  /** Facts whose rows came without ids stay that way in the document. */
  #namesRows(): boolean {
    return this.#session.policy(this.name) === 'append-only' && this.#rows.all()[0]?.id.startsWith(ROW_PREFIX) === true
  }

  #follow(): () => void {
    return this.#rows.changed.add(({ change, before }) => {
      if (this.#all.listeners.size === 0) {
        this.#leave?.()
        this.#leave = null
        return
      }
      const { source } = change
      const changes = change.all
        ? difference<AnyRow>(source, before, this.#rows.all())
        : { source, added: this.#rows.getMany(change.added), updated: this.#rows.getMany(change.updated), removed: change.removed }
      if (changes.added.length + changes.updated.length + changes.removed.length > 0) this.#all.listeners.emit(Object.freeze(changes))
    })
  }
}

/** What is no array is refused by those who look closer. */
function countOf(records: readonly object[]): number {
  try {
    return Array.isArray(records) ? records.length : 0
  } catch {
    return 0
  }
}

function idsOf(rows: Rows, records: readonly Made[]): readonly string[] {
  return records.map(({ id }) => rows.now(id))
}

function listed(rows: Rows, query: Query<Members> | undefined): readonly AnyRow[] {
  return query?.includeDeleted === true ? [...rows.all(), ...rows.deleted()] : rows.all()
}

/** Runs a query again when the rows changed; tells only when the result did. */
function liveQuery(rows: Rows, lazy: Lazy, query: Query<Members>): Observable<readonly AnyRow[], Changes<Members>> {
  let version = -1
  let result: readonly AnyRow[] | undefined
  const read = (): readonly AnyRow[] => {
    if (!lazy.isHere(rows.name)) return NONE
    const now = rows.version
    if (result === undefined || now !== version) result = keepIdentity(result, Object.freeze(select(listed(rows, query), query)))
    version = now
    return result
  }
  return followed(rows, lazy, new Source<readonly AnyRow[], Changes<Members>>(read, NONE), (before, after, source) => difference(source, before, after))
}

/** Follows one record. */
function liveRecord(rows: Rows, lazy: Lazy, id: string): Observable<AnyRow | undefined, AnyRow | undefined> {
  return followed(rows, lazy, new Source<AnyRow | undefined, AnyRow | undefined>(() => (lazy.isHere(rows.name) ? rows.get(id) : undefined), undefined), (_, after) => after)
}

/** An observable that listens to the rows only while it is listened to, and speaks when its snapshot is another one. */
function followed<T, C>(rows: Rows, lazy: Lazy, source: Source<T, C>, describe: (before: T, after: T, cause: Changes<AnyRow>['source']) => C): Observable<T, C> {
  let told: T
  let leave: (() => void) | null = null
  return {
    getSnapshot: source.getSnapshot,
    getServerSnapshot: source.getServerSnapshot,
    subscribe: (listener, options) => {
      begin(lazy, rows.name)
      if (leave === null) {
        told = source.getSnapshot()
        leave = rows.changed.add(({ change }) => {
          if (source.listeners.size === 0) {
            leave?.()
            leave = null
            return
          }
          const before = told
          told = source.getSnapshot()
          if (told !== before) source.listeners.emit(describe(before, told, change.source))
        })
      }
      return source.subscribe(listener, options)
    },
  }
}

/** Who follows is told when the rows are there, or hears nothing. */
function begin(lazy: Lazy, name: string): void {
  lazy.load(name).catch(() => {})
}

/** The engine counts records of an operation; a single one has no index. */
function singlePath(error: unknown): HomingError {
  const known = toHomingError(error, 'write')
  if (known.path === null || !/^\/0(\/|$)/.test(known.path)) return known
  return new HomingError({ ...known.toJSON(), path: known.path.slice(2), cause: known.cause })
}

function idOf(record: unknown): unknown {
  try {
    return (record as { id?: unknown } | null | undefined)?.id
  } catch {
    return undefined
  }
}
