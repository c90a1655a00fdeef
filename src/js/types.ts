/// <reference lib="esnext.disposable" preserve="true" />
// The public types. Hand-written; the implementation is checked against them. Rules that types cannot say:
// 1. `openDatabase` never waits for the network, a token, a lock or another tab.
// 2. Reads are synchronous and see every write of this page at once. A write that storage refused is taken out again and
//    subscribers are told.
// 3. No method throws: promises reject with `HomingError` only, `settled` never rejects. Listeners run in a microtask after
//    the call. (An exception of your own predicate in `list` is yours.)
// 4. Rows are deep-frozen plain objects; an unchanged row keeps its identity. Order is insertion order unless `orderBy` says
//    otherwise.

import type { ErrorCode, HomingError } from './errors.js'

export type { ErrorCode, ErrorDetail, Phase } from './errors.js'

/**
 * The shape of a database: collection name to record type.
 * @example interface Farm { flocks: Flock; 'feed.purchases': Purchase; settings: Settings }
 */
export type Schema = object
/** The names of the collections of a schema. A typo does not compile. */
export type Name<S> = keyof S & string
/** The members that Homing keeps in every record. `_rev` is absent until the server confirmed the version. */
export interface Meta { readonly id: string; readonly _updatedAt: string; readonly _deletedAt?: string | null; readonly _rev?: number }
/** A record as it is read: frozen. @example const flock: Row<Flock> | undefined = flocks.get('f1') */
export type Row<T> = { readonly [K in keyof T]: T[K] } & Meta
/** A record as it is written: the id may be left out. @example await flocks.insert({ name: 'Layer Group 3' }) */
export type NewRow<T> = Omit<T, keyof Meta> & { id?: string }
/** Top-level fields to change: `undefined` removes one, `null` is a value. @example await flocks.update('f1', { notes: undefined }) */
export type Patch<T> = { [K in keyof Omit<T, keyof Meta>]?: T[K] | undefined }
/** A field of a record. */
export type Key<T> = Extract<keyof (T & Meta), string>
/** A condition on one field; all given parts hold. Only values of one type compare. @example { date: { gte: '2025-01-01', lt: '2025-02-01' } } */
export interface Range<V> { in?: readonly V[]; gt?: V; gte?: V; lt?: V; lte?: V; startsWith?: string }
/** Which records: fields that equal or lie in a range, or a predicate. @example { status: 'active' } @example (row) => row.count > 0 */
export type Where<T> = { [K in keyof (T & Meta)]?: (T & Meta)[K] | Range<(T & Meta)[K]> } | ((row: Row<T>) => boolean)
/** What to list. `-date` is descending. @example days.list({ where: { flockId }, orderBy: '-date', limit: 7 }) */
export interface Query<T> {
  where?: Where<T>
  orderBy?: Key<T> | `-${Key<T>}` | ((a: Row<T>, b: Row<T>) => number)
  limit?: number
  offset?: number
  /** Also tombstones, after the others. */
  includeDeleted?: boolean
}
/** Of calls that take a while. @example db.importDocument(tree, { signal, onProgress: ({ done, total }) => bar(done / total) }) */
export interface Options { signal?: AbortSignal; onProgress?: (progress: Progress) => void }
/** How far such a call is. */
export interface Progress { readonly phase: string; readonly done: number; readonly total?: number }

/**
 * Something to read now and to follow: fits React's `useSyncExternalStore` as it is. The snapshot is frozen and the same
 * object until it changes.
 * @example const stop = db.status.subscribe(() => render(db.status.getSnapshot()))
 */
export interface Observable<T, C = void> {
  subscribe(listener: (change: C) => void, options?: { signal?: AbortSignal }): () => void
  getSnapshot(): T
  getServerSnapshot(): T
}
/** What a change came to. @example flocks.subscribe(({ added }) => added.forEach(draw)) */
export interface Changes<T> {
  /** `remap`: the server gave records their ids; those removed and added are the same. */
  readonly source: 'local' | 'remote' | 'tab' | 'remap' | 'reset'
  readonly added: readonly Row<T>[]
  readonly updated: readonly Row<T>[]
  readonly removed: readonly string[]
}

/**
 * A write: a promise that resolves when it is durable on this device. `record` and `recordId` are there at once (`record` is
 * undefined when the write was refused); `settled` resolves to what the server made of it, and never rejects.
 * @example
 * const write = flocks.insert({ name: 'Layer Group 3' })
 * show(write.record)
 * await write                       // durable
 * const { status } = await write.settled
 */
export interface Write<R, V = Verdict> extends Promise<R> { readonly recordId: string; readonly record: R; readonly settled: Promise<V> }
/**
 * How a write ended. `local`: no sync for it, or for all it changed (`localFields`) · `cancelled`: nothing was left to send (deleted before it was sent, no change,
 * or the write itself failed) · `closed`: the database was closed first; it is still queued.
 */
export type Verdict =
  | { status: 'applied' | 'merged' | 'superseded'; mutationId: string; rev: number; conflictId?: string }
  | { status: 'conflict'; mutationId: string; conflictId: string }
  | { status: 'rejected' | 'gave-up'; mutationId: string; error: HomingError }
  | { status: 'cancelled' | 'discarded'; mutationId: string | null }
  | { status: 'local' | 'closed' }
/** Where a record stands: a badge shows it. */
export type RecordState = 'local' | 'synced' | 'queued' | 'syncing' | 'blocked' | 'conflict' | 'failed'
/**
 * `idempotencyKey`: writes under one key are one mutation, whatever calls twice, also among the last thousand settled; other content under the key
 * is `duplicate-key`. `dependsOn` names mutations that go first.
 * @example await sales.insert(sale, { idempotencyKey: form.id })
 */
export interface WriteOptions { idempotencyKey?: string; dependsOn?: readonly string[] }

/** A list of records. `ready` reads those of a `lazy` one, else it has resolved. @example await db.collection('auditLog').ready */
export interface Collection<T> extends Observable<readonly Row<T>[], Changes<T>> {
  readonly name: string
  readonly ready: Promise<void>
  /** The live record. An id that the server replaced stays valid. @example flocks.get('f1')?.name */
  get(id: string): Row<T> | undefined
  /** @example flocks.list({ where: { status: 'active' }, orderBy: 'name' }) */
  list(query?: Query<T>): readonly Row<T>[]
  /** @example flocks.count({ where: { status: 'active' } }) */
  count(query?: Query<T>): number
  /** A live query; its snapshot changes only when its result does. @example flocks.query({ limit: 5 }).subscribe(render) */
  query(query: Query<T>): Observable<readonly Row<T>[], Changes<T>>
  /** One record to follow. @example flocks.record('f1').subscribe((row) => render(row)) */
  record(id: string): Observable<Row<T> | undefined, Row<T> | undefined>
  /** @example badge.textContent = flocks.state('f1') */
  state(id: string): RecordState
  /** The version that the server confirmed last. @example flocks.confirmed('f1')?._rev */
  confirmed(id: string): Row<T> | undefined
  /** Stable over an id remap, for list keys. @example <li key={flocks.keyOf(row.id)}> */
  keyOf(id: string): string
  /** A new record; `duplicate-id` when the id exists. @example await flocks.insert({ name: 'Layer Group 3' }) */
  insert(record: NewRow<T>, options?: WriteOptions): Write<Row<T>>
  /** Many new records in one step: all or none. @example await days.insertMany(rows) */
  insertMany(records: readonly NewRow<T>[], options?: Options): Write<readonly Row<T>[], readonly Verdict[]> & { readonly recordIds: readonly string[] }
  /** Inserts or replaces. @example await flocks.put({ ...flock, count: 400 }) */
  put(record: T & { id: string }, options?: WriteOptions): Write<Row<T>>
  /** Changes some fields; `not-found` without the record. @example await flocks.update('f1', (row) => ({ count: row.count - 1 })) */
  update(id: string, change: Patch<T> | ((row: Row<T>) => Patch<T>), options?: WriteOptions): Write<Row<T>>
  /** Leaves a tombstone; of a record that was never sent, nothing: its create and this come to nothing. @example await flocks.delete('f1') */
  delete(id: string, options?: WriteOptions): Write<void>
  /**
   * Brings a deleted record back. `not-found` where nothing is left of it, because it was never sent: `put` it again.
   * @example await flocks.undelete('f1')
   */
  undelete(id: string, options?: WriteOptions): Write<Row<T>>
}
/** A single record. @example await db.singleton('settings').update({ darkMode: true }) */
export interface Singleton<T> extends Observable<Row<T> | undefined, Row<T> | undefined> {
  get(): Row<T> | undefined
  set(value: NewRow<T>): Write<Row<T>>
  update(change: Patch<T> | ((value: Row<T>) => Patch<T>)): Write<Row<T>>
  state(): RecordState
}
/** What `batch` hands to its callback. Reads see the writes of the batch. */
export interface Batch<S> {
  collection<K extends Name<S>>(name: K): Pick<Collection<S[K]>, 'get' | 'list' | 'insert' | 'put' | 'update' | 'delete' | 'undelete'>
  singleton<K extends Name<S>>(name: K): Pick<Singleton<S[K]>, 'get' | 'set' | 'update'>
}

/** How two versions of one record become one; `lww` (the later wins, the other is archived) unless declared. */
export type Merge = 'lww' | 'fields' | 'append-only' | 'fww' | 'server-wins' | 'client-wins' | 'manual'
/** The declaration of a collection: plain JSON, the same file that the server loads. @example { merge: 'append-only', label: 'date' } */
export interface CollectionOptions<T> {
  merge?: Merge
  /**
   * Fields that join instead of one version winning, whatever `merge` says. `counter`: a number, all movements count. `set`: an
   * array without order; what was added stays unless somebody who saw it took it away. `text`: changes of different words are
   * both kept. `max`, `min`: the largest, smallest number or text. @example { eggs: 'counter', tags: 'set', notes: 'text' }
   */
  fields?: { readonly [K in Key<T>]?: 'counter' | 'set' | 'text' | 'max' | 'min' }
  /** Fields that win or lose together where `merge` is `fields`. @example [['lat', 'lon']] */
  groups?: readonly (readonly Key<T>[])[]
  singleton?: boolean
  /** `server`: new records have an `optimistic_…` id until the server gives theirs; then every reference is replaced. */
  ids?: 'client' | 'server'
  /** Field to the collection whose id (or list of ids) it holds: a record waits for the create of its parent. @example { flockId: 'flocks' } */
  references?: { readonly [field: string]: string }
  /**
   * A field that the server numbers, one more than the highest ever given under the same `parent` (without: in the collection). What
   * is written there before is provisional; with the answer to the create the record has its number, and keeps it. @example { field: 'number', parent: 'flockId' }
   */
  ordinal?: { readonly field: Key<T>; readonly parent?: Key<T> }
  /**
   * Fields whose values, taken together, the server lets only one live record of the collection have; who comes second is a dead
   * letter, `unique`. Not looked at here. @example [['ringNumber'], ['flockId', 'date']]
   */
  unique?: readonly (readonly Key<T>[])[]
  /** `false`: never leaves the device. */
  sync?: boolean
  /**
   * Fields that never leave the device: caches, PINs, passwords of a broker. No request names them, so they are in no archive, in no
   * conflict and on no other device, and gone with the storage of this one. Rows show them; what arrives leaves them as they are. Writing
   * nothing else is settled at once, `local`, and the stamp stays. `put` of a row with `_updatedAt` writes those that it has and takes none
   * away. Declare them before they are first written: later, a record with `ids: 'server'` whose create is not answered yet may meet
   * itself as a conflict. @example ['pin']
   */
  localFields?: readonly Key<T>[]
  /** Read when asked for (`ready`, or whoever follows it): before, reads and writes are `not-loaded`. */
  lazy?: boolean
  /** A JSON Schema that the server holds every version against; what does not fit is a dead letter, `validation`. Not looked at here. */
  schema?: object
  /** The field that names a record in conflict texts, and what one is called there: `Flock`. */
  label?: Key<T>
  title?: string
  /**
   * Decides conflicts that this device runs into and that no rule decides (`manual`; deleted here, edited there). Called once for each,
   * and again after the next opening where there was no answer; one tab asks. What throws or makes no sense is reported by the event
   * `error`, and the conflict goes on waiting in `db.conflicts`.
   * @example { merge: 'manual', onConflict: ({ mine, theirs }) => (mine && theirs ? { count: Math.min(mine.count, theirs.count) } : 'mine') }
   */
  onConflict?: (conflict: Conflict<T>) => Choice<T> | Promise<Choice<T>>
}
declare const shared: unique symbol
/** Declarations from a JSON file, as `sharedSchema` gives them. */
export interface SharedCollections { readonly [shared]: true }
/** A declaration file: what `homing-server --schema` loads. */
export interface SchemaFile { readonly version?: number; readonly collections: { readonly [name: string]: object } }
/** @example await openDatabase<Farm>({ name: 'farm', sync: { url: 'https://example.org', getToken } }) */
export interface OpenOptions<S> {
  name: string
  /** Whose data: each scope is a database of its own. */
  scope?: string
  /** By hand, or from the JSON file that the server loads: `sharedSchema(file).collections`. What is not known is refused, with its path. */
  collections?: { [K in Name<S>]?: CollectionOptions<S[K]> } | SharedCollections
  /**
   * Log-in of a guest: what was written under this scope (`''` for none) and never sent moves here, under the ids it has; the other
   * database is deleted. Close it first. @example openDatabase({ name: 'farm', scope: user.id, adoptScope: '' })
   */
  adoptScope?: string
  /** Version of the declaration. */
  version?: number
  /**
   * Without it nothing leaves this device: `status.state` is `paused`, `sync()` rejects with `paused`, `settled` says `local`. What is written is
   * kept for a server all the same, should one be declared later: it counts as `pending`, and no `maxQueue` ends it; `deleteDatabase` asks
   * for `discardPending`, `wipe` does not.
   */
  sync?: SyncOptions
  storage?: 'auto' | 'indexeddb' | 'memory'
  durability?: 'relaxed' | 'strict'
  /** Most waiting mutations; more are refused with `queue-full`. */
  maxQueue?: number
  /**
   * Runs the engine in a dedicated worker: the page keeps the rows as text and does none of the engine's work. `true` starts it without
   * a file of its own, which a Content-Security-Policy has to allow (`worker-src blob:`); else serve `homing/worker` and start it
   * yourself, as `homing/slim` always needs. @example { worker: () => new Worker('/assets/homing-worker.js') }
   */
  worker?: boolean | (() => Worker)
  logger?: (entry: LogEntry) => void
  /** Replaces what the browser gives, for tests and unusual networks. */
  platform?: { now?(): number; random?(): number; fetch?: typeof fetch }
  signal?: AbortSignal
}
/** Times in milliseconds. @example { url: 'https://example.org', getToken: () => session.token } */
export interface SyncOptions {
  url?: string
  transport?: Transport
  getToken?: (why: { refresh: boolean; signal: AbortSignal }) => Promise<string | null>
  headers?: () => HeadersInit | Promise<HeadersInit>
  credentials?: RequestCredentials
  auto?: boolean
  debounce?: number
  pollInterval?: number
  timeout?: number
  /** The most that one request carries. Without it: 500 mutations or 512 KiB, behind one that went well 1,000 or 2 MiB. */
  batch?: { mutations?: number; bytes?: number }
  /** How often a write is sent before it becomes a dead letter when a request fails; without it, for ever. A server that answers `retry` has not failed. */
  maxAttempts?: number
}
/** Your own way to the server, instead of `url`. A rejection with `{ status, code?, message?, retryAfterMs? }` counts like that HTTP answer, any other as a lost network. */
export interface Transport {
  push(request: PushRequest, context: { signal: AbortSignal; token: string | null }): Promise<SyncResponse>
  pull(request: PullRequest, context: { signal: AbortSignal; token: string | null }): Promise<SyncResponse>
}

/** An open database. @example const db = await openDatabase<Farm>({ name: 'farm' }) */
export interface Database<S extends Schema> extends HomingEvents {
  readonly name: string
  readonly scope: string
  readonly clientId: string
  readonly status: Observable<Status>
  collection<K extends Name<S>>(name: K): Collection<S[K]>
  singleton<K extends Name<S>>(name: K): Singleton<S[K]>
  /**
   * All or nothing on this device; `atomic` asks the server for the same. `work` is synchronous; if it throws, or returns a promise
   * other than one of its own writes, nothing is written.
   * @example await db.batch((tx) => { tx.collection('flocks').delete('f1'); tx.singleton('farm').update({ flocks: 3 }) })
   */
  batch<R>(work: (tx: Batch<S>) => R, options?: { atomic?: boolean }): Promise<R> & { readonly settled: Promise<readonly Verdict[]> }
  /**
   * Everything as one JSON tree, a fresh one, yours to change. It deep-equals what was imported; `reserved` adds Homing's own
   * members (`_updatedAt`, `_rev`, ids that Homing gave to rows without one). Where versions met, `_conflictArchive` lists them; nothing that
   * reads a tree takes it in.
   */
  exportDocument<D extends object = Record<string, unknown>>(options?: { reserved?: boolean }): Promise<D>
  /**
   * Saves a tree: what changed in it since this page last exported, saved or refreshed is written. Rows the page has not seen
   * are never touched, and a row that somebody changed meanwhile is not deleted. A member that is missing altogether is left
   * alone; an empty array deletes its rows. Export first: where this page has neither exported, saved nor refreshed, nothing is
   * overwritten or deleted. Then a row that differs from what is here is not written but archived (`archived` of the report).
   * `only` names members to look at (`['feed']` includes `feed.purchases`), `deletions: false` deletes nothing.
   */
  saveDocument(tree: object, options?: Options & { only?: readonly string[]; deletions?: boolean }): Promise<SaveReport>
  /**
   * Brings what changed meanwhile into the tree, in place, `_conflictArchive` too, except where the tree has unsaved edits; returns JSON
   * Pointers of what changed.
   */
  refreshDocument(tree: object): readonly string[]
  /** Imports the JSON document under a localStorage key. The original stays where it is. @example await db.importLocalStorage({ key: 'egglogu_data' }) */
  importLocalStorage(options: Options & { key: string }): Promise<ImportReport>
  /** Imports a tree: what is here already stays; running it again adds nothing. @example await db.importDocument(JSON.parse(text)) */
  importDocument(tree: object, options?: Options): Promise<ImportReport>
  /**
   * One cycle, shared by concurrent calls. Tries whatever `navigator.onLine` says, and does not wait for a backoff to end; refused
   * while paused, by `Retry-After`, by the open circuit breaker, and while the server has to let go first (`auth-required` until there
   * is another token, `forbidden`, `incompatible`); `error.retryAt` says until when. `full` fetches everything again.
   */
  sync(options?: Options & { full?: boolean }): Promise<SyncReport>
  pause(): void
  /** Ends a pause; also tries again at once where syncing is held by `auth-required`, `forbidden` or `incompatible`. */
  resume(): void
  /** How syncing does, in numbers, since the database was opened. @example fetch('/metrics', { method: 'POST', body: db.metrics().toPrometheus() }) */
  metrics(): Metrics
  readonly queue: {
    /** @example db.queue.list({ collection: 'flocks' }).length */
    list(filter?: { collection?: string; recordId?: string }): readonly Mutation[]
    /** Why each mutation has not been sent yet. */
    explain(): readonly { mutationId: string; reason: string; until?: string; waitingFor?: string }[]
    /** What a mutation, also a dead letter, changes: from the version it was made on to its record; a new record is added to `{}`. @example render(db.queue.patch(mutation.id)) */
    patch(mutationId: string): readonly PatchOperation[] | undefined
    /** Takes back a mutation that was never sent; `blocked` while others wait for it. */
    discard(mutationId: string): Promise<void>
  }
  /** What the server refused for good. @example await db.deadLetters.retry(letter.id, { ...letter.record, price: 1 }) */
  readonly deadLetters: Observable<readonly DeadLetter[]> & {
    list(): readonly DeadLetter[]
    /** Sends it again as a new mutation, with new content if given; what waited for it follows. */
    retry(id: string, edited?: object): Write<unknown>
    /** Lets go of it. `cascade`: and of what waits for it; else that goes on without it. */
    discard(id: string, options?: { cascade?: boolean }): Promise<void>
    /** All of them as a JSON file. @example link.href = URL.createObjectURL(await db.deadLetters.export()) */
    export(): Promise<Blob>
  }
  /** Versions that met: what waits for the user, and the archive. @example await db.conflicts.resolve(conflict.id, 'mine') */
  readonly conflicts: Observable<readonly Conflict[]> & {
    list(filter?: { status?: Conflict['status']; collection?: string; recordId?: string; limit?: number }): readonly Conflict[]
    get(id: string): Conflict | undefined
    /** What both versions changed and what leads from theirs to mine. @example render(db.conflicts.patch(id)?.difference) */
    patch(id: string): ConflictPatches | undefined
    /** Settles one that waits, on all devices. */
    resolve(id: string, choice: Choice<Record<string, unknown>>): Write<unknown>
    /** Writes the version that lost again, on top of what is there now; brings a deleted record back. Not for one that waits. @example await db.conflicts.reinstate(entry.id) */
    reinstate(id: string): Write<unknown>
    /** Lets go of settled ones on this device, all or those settled before a time; how many. What waits is never let go. @example await db.conflicts.purge({ before: '2025-01-01' }) */
    purge(filter?: { before?: string }): Promise<number>
  }
  /** Asks the browser not to delete the data when the disk is full; it may ask the user. What came of it: `status.storage.persisted`. */
  requestPersistence(): Promise<boolean>
  /** Waits until everything written is durable, then lets go of it all. Safe to call twice. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
  /** Log-out: deletes everything on this device. `pending-work` while something is unsent, unless told to discard it. */
  wipe(options?: { discardPending?: boolean }): Promise<void>
}

/** A database of this origin on this device, and how much of it was never sent. */
export interface StoredDatabase { readonly name: string; readonly scope: string; readonly pending: number; /** Unknown (empty) where the browser keeps no `localStorage`. */ readonly lastOpenedAt: string }

/** What `saveDocument` did. `archived`: rows that differ and were not written, because the page has not seen what is here; their versions are in the archive. */
export interface SaveReport { readonly inserted: number; readonly updated: number; readonly deleted: number; readonly unchanged: number; readonly archived: number; readonly settled: Promise<readonly Verdict[]> }

/** What sync and storage are doing. @example db.status.getSnapshot().pending */
export interface Status {
  readonly state: 'offline' | 'idle' | 'pushing' | 'pulling' | 'applying' | 'backoff' | 'breaker-open' | 'auth-required' | 'forbidden' | 'incompatible' | 'paused' | 'closed'
  readonly online: boolean
  /** Until when it waits. */
  readonly until: string | null
  readonly lastSyncedAt: string | null
  readonly everSynced: boolean
  readonly progress: Progress | null
  readonly error: HomingError | null
  readonly pending: number
  readonly blocked: number
  readonly deadLetters: number
  readonly conflicts: number
  readonly health: 'ok' | 'degraded' | 'critical'
  /** Where the data lies; bytes of the whole origin, as far as the browser tells. `reason`: why it is not where it should be. */
  readonly storage: { readonly mode: 'indexeddb' | 'localstorage' | 'memory'; readonly durable: boolean; readonly persisted: boolean; readonly usage: number | null; readonly quota: number | null; readonly reason: string | null }
}
/** One queued write. Its id never changes; the server uses it to take it once. */
export interface Mutation { readonly id: string; readonly op: 'create' | 'update' | 'delete' | 'undelete'; readonly collection: string; readonly recordId: string; readonly record: Json | null; readonly state: 'queued' | 'syncing' | 'blocked' | 'conflict'; readonly attempts: number; readonly nextAttemptAt: string | null; readonly createdAt: string; readonly dependsOn: readonly string[] }
/** A mutation the server refused for good: why, and what waits for it. */
export interface DeadLetter extends Mutation { readonly code: string; readonly message: string; readonly path?: string; readonly at: string; readonly dependents: readonly string[] }
/** Two versions of one record that met. `automatic`: merged, kept to look at. */
export interface Conflict<T = Record<string, unknown>> {
  readonly id: string
  readonly collection: string
  readonly recordId: string
  /** `Flock 'Layer Group 3'` */
  readonly label: string
  readonly kind: 'edit-edit' | 'delete-edit' | 'edit-delete' | 'create-create'
  readonly paths: readonly string[]
  /** What mine was made from: known on the device that edited it, while the conflict waits. */
  readonly base: Row<T> | null
  readonly mine: Row<T> | null
  readonly theirs: Row<T> | null
  readonly winner: 'mine' | 'theirs' | 'merged'
  readonly policy: Merge
  readonly at: string
  readonly mineBy: string | null
  readonly theirsBy: string | null
  readonly status: 'unresolved' | 'resolved' | 'automatic'
}
/** One step of a JSON Patch (RFC 6902). Homing's own members are left out, but for `_deletedAt` where a record is deleted. */
export type PatchOperation = { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown } | { readonly op: 'remove'; readonly path: string }
/** How the versions of a conflict came about: from `base`, null where that version is not known; `difference` leads from theirs to mine. */
export interface ConflictPatches { readonly mine: readonly PatchOperation[] | null; readonly theirs: readonly PatchOperation[] | null; readonly difference: readonly PatchOperation[] }
/**
 * A decision about a conflict; `both` gives mine a new id, which the declared references that were written for it follow; a patch is
 * applied to theirs. `mine` takes back nothing that others counted or added: counters, sets, `max` and `min` have what theirs has and
 * what mine did to them; a text is mine's.
 */
export type Choice<T> = 'mine' | 'theirs' | 'both' | Patch<T>
/** What `addEventListener` can follow. @example db.addEventListener('conflict', ({ detail }) => ask(detail.label)) */
export interface EventMap {
  conflict: Conflict
  deadletter: DeadLetter
  /** The server gave a record its id. */
  idremapped: { readonly collection: string; readonly from: string; readonly to: string }
  /** A mutation waits for something that only a person can change, or was sent again and again. */
  stalled: { readonly mutationId: string; readonly reason: string }
  sync: SyncReport
  /** Room gets scarce (80 %, 95 % of the quota) or is there again, or the data lies elsewhere; `lost`: the browser or somebody deleted it. */
  storage: Status['storage'] & { readonly lost: boolean }
  /** Another tab runs a newer version that changed the database: reload this page. */
  outdated: { readonly reason: 'newer-version-in-other-tab' }
  autherror: HomingError
  error: HomingError
}
/** The two methods of an `EventTarget`, typed. */
export interface HomingEvents {
  addEventListener<K extends keyof EventMap>(type: K, listener: (event: CustomEvent<EventMap[K]>) => void, options?: { signal?: AbortSignal; once?: boolean }): void
  removeEventListener<K extends keyof EventMap>(type: K, listener: (event: CustomEvent<EventMap[K]>) => void): void
}
/** What one cycle did. */
export interface SyncReport { readonly requestId: string; readonly pushed: number; readonly pulled: number; readonly conflicts: number; readonly rejected: number; readonly remaining: number; readonly bytesSent: number; readonly bytesReceived: number; readonly ms: number }
/**
 * What an import did, per collection (singletons are not counted), and which rows it could not take. `unchanged`: here already ·
 * `archived`: here with other content, which stays; theirs is in the archive.
 */
export interface ImportReport { readonly collections: Record<string, { rows: number; inserted: number; unchanged: number; archived: number; duplicateIds: number }>; readonly problems: readonly { path: string; code: ErrorCode }[] }
/** Rates are of the last 15 minutes, lag of the last hour. `status.health` is `critical` from an hour of lag, `degraded` from 5 % of either rate. */
export interface Metrics {
  readonly queueDepth: number
  readonly oldestMs: number
  /** From written to settled. */
  readonly lagMs: { readonly p50: number; readonly p95: number }
  /** Share of cycles with a new conflict. */
  readonly conflictRate: number
  /** Share of requests without a usable answer. */
  readonly failureRate: number
  /** The server's clock minus this one's. */
  readonly skewMs: number | null
  readonly requests: number
  readonly failures: number
  /** Mutations sent, each time. */
  readonly attempts: number
  readonly settled: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly breaker: 'closed' | 'open' | 'half-open'
  /** Always 0; anything else is a bug of Homing worth a report. */
  readonly illegalEvents: number
  /** The last 100 cycles, oldest first. */
  readonly history: readonly Json[]
  /** Prometheus text format. */
  toPrometheus(): string
}
/** What a logger gets. Never holds record contents or tokens. */
export interface LogEntry { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string; readonly phase: string | null; readonly requestId: string | null; readonly data: Json }
/** Any JSON object. */
export type Json = Readonly<Record<string, unknown>>

/** The wire protocol, version 1, as a `Transport` sees it. */
export interface PushRequest { protocol: 1; clientId: string; requestId: string; scope?: string | null; schemas: Record<string, string>; cursor: string | null; settledThrough: number; mutations: readonly WireMutation[] }
/** Asks for what changed since a cursor. */
export interface PullRequest { protocol: 1; clientId: string; requestId: string; scope?: string | null; schemas: Record<string, string>; cursor: string | null; limit: number }
/** One mutation in a push. `changed`, `was`: JSON Pointers its author changed, and what he had seen there; a typed text that neither names stays as others wrote it. */
export interface WireMutation { id: string; op: Mutation['op']; collection: string; recordId: string; baseRev: number | null; record: Json | null; changed?: readonly string[]; was?: Json; updatedAt: string; dependsOn?: readonly string[]; group?: string; imported?: boolean; retryOf?: string; resolves?: string }
/** The answer to both. */
export interface SyncResponse { protocol: 1; requestId: string; serverTime: string; scope: string; epoch: string; results?: readonly WireResult[]; changes: readonly { collection: string; records: readonly Json[] }[]; rev?: number; cursor: string; hasMore: boolean; reset: boolean; horizon: string }
/** What became of one mutation. */
export interface WireResult { id: string; status: 'applied' | 'merged' | 'superseded' | 'conflict' | 'rejected' | 'blocked' | 'retry' | 'expired'; replayed?: boolean; rev?: number; record?: Json; recordId?: string; archived?: Json; code?: string; message?: string; path?: string; retryAfterMs?: number; clamped?: boolean }
