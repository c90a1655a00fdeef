// The private contract with the wasm module: every structured value crosses as JSON text, record bodies stay text. Synchronous
// methods throw a JSON string, asynchronous ones reject with it (`errors.ts` decodes). An engine in a worker (`worker/remote.ts`) answers
// some calls with the value itself. Nothing here is handed to users.

import type { ErrorDetail, HomingError } from './errors.js'
import type { Made } from './operations.js'
import type { AnyRow } from './query.js'

/** JSON text, or what it says. */
export type Answer<T extends object> = string | T

/** What an answer says. */
export function read<T extends object>(answer: Answer<T>): T {
  return typeof answer === 'string' ? JSON.parse(answer) as T : answer
}

/** The engine behind one open database. */
export interface Engine {
  clientId(): string
  /**
   * Plans the operations and makes them visible, all or none: `{ops, atomic?, dependsOn?, idempotencyKey?}` in UTF-8, then the new records,
   * one line each -> `Written`.
   */
  write(batch: Uint8Array): Answer<Written>
  /** The same where the ids are known: the ticket alone. */
  writeKnown(batch: Uint8Array): number
  /**
   * The same for new `records` alone: the ticket, and their stamp where they are otherwise as given and no change waits to be drained
   * (else NaN). Those the page shows itself, before what the next drain says: no drain says that they are there.
   */
  insertKnown(batch: Uint8Array, collection: string, records: readonly object[]): Float64Array | readonly [number, number]
  /**
   * The same piece by piece, where the engine is elsewhere: the ticket. They are shown all at once, when the last piece is there or
   * somebody asks for `insertsNow`, and told by a drain.
   */
  insertInPieces?(collection: string, records: readonly Made[]): number
  insertsNow?(): void
  /** What changed (1: status, 2: conflicts), then durable writes as ticket and mutation number (0: none) in turns; undefined where `drain` has more to tell. */
  drainPlain(): Float64Array | undefined
  /** Everything since the last call: `Drained`. */
  drain(): Answer<Drained>
  /** The live rows: a JSON array, then pieces of one JSON object per line. */
  rows(collection: string): readonly string[]
  row(collection: string, id: string): string | undefined
  rowsOf(collection: string, ids: string): string
  deleted(collection: string): string
  /** Those that are loaded, and how many live rows each has. */
  collections(): string
  /** Reads a collection declared `lazy`; told as a change of all of it. */
  load(collection: string): Promise<void>
  state(collection: string, id: string): string
  confirmed(collection: string, id: string): string | undefined
  status(): string
  metrics(): string
  queue(): string
  /** RFC 6902: of a queued mutation, and `{mine, theirs, difference}` of a conflict. */
  patch(mutationId: string): string | undefined
  conflictPatch(conflictId: string): string | undefined
  explain(): string
  /** An id for a new record. */
  newId(collection: string): string
  /** The id a record had first here, and the one it has now. */
  firstId(id: string): string
  currentId(id: string): string
  deadLetters(): string
  conflicts(): string
  discard(mutationId: string): Answer<Written>
  discardDead(id: string, cascade: boolean): Answer<Written>
  retryDead(id: string, edited: string | undefined): Answer<Written>
  resolve(conflictId: string, choice: string): Answer<Written>
  reinstate(conflictId: string): Answer<Written>
  /** Ids of the conflicts of this device that wait, a JSON array. */
  ownConflicts(): string
  purge(before: string | undefined): Promise<number>
  sync(options: string): Promise<string>
  pause(): void
  resume(): void
  online(yes: boolean): void
  visible(yes: boolean): void
  /** Whether opening made the database. */
  isNew(): boolean
  /** `{mode, reason}`. */
  storage(): string
  /** Whether this tab may write, where only one can. */
  setWriter(yes: boolean): void
  /** Holds no connection until the next call. */
  letGo(): void
  catchUp(): Promise<void>
  durable(): Promise<void>
  close(): Promise<void>
  destroy(discardPending: boolean): Promise<void>
  free(): void
  /** Nobody asks it anything any more, because of that error: what runs elsewhere ends. */
  abandon?(error: HomingError): void
}

/** What a worker asks its engine besides, to tell the page. */
export interface HostedEngine extends Engine {
  /** As `queue` and `explain` say it, in UTF-8. */
  queueBytes(): Uint8Array<ArrayBuffer>
  explainBytes(): Uint8Array<ArrayBuffer>
  /** The patches of queued mutations that create nothing, by their ids; UTF-8. */
  patchBytes(): Uint8Array<ArrayBuffer>
  /** Where records stand that are not just as the server has them: `{collection, id, state, confirmed}`. `few`: but for new ones that only wait for their turn. */
  standings(few: boolean): string
}

/** What the engine may call. It does so outside any borrow; user code behind a hook runs in a promise of its own. */
export interface Hooks {
  notify(): void
  appended(head: number): void
  /** Resolves to the function that ends the turn to send. */
  turn?(): Promise<(() => void) | null>
  /** Whether the turn given last is still this engine's. */
  turnLasts?(): boolean | Promise<boolean>
  /** Takes the pen of a database in `localStorage`; resolves to the function that gives it back. */
  pen?(stored: string): Promise<(() => void) | null>
  /** What became of the connection. */
  gone?(how: 'closed' | 'deleted' | 'outdated'): void
  fetch(url: string, init: RequestInit): Promise<Response>
  getToken?(refresh: boolean): Promise<string | null>
  /** Only where the browser can compress. */
  gzip?(text: string): Promise<Uint8Array<ArrayBuffer>>
  /**
   * Takes a large body over for `fetch`; not where the app gave its own, which may want to read the text. The bytes are the engine's
   * memory: they are good during the call.
   */
  blob?(bytes: Uint8Array<ArrayBuffer>): Blob | null
  headers?(): Promise<[string, string][]>
  push?(request: string, token: string | null, signal: AbortSignal): Promise<string>
  pull?(request: string, token: string | null, signal: AbortSignal): Promise<string>
  now?(): number
  random?(): number
  uuid?(): string
  sleep?(ms: number): Promise<void>
  log?(entry: string): void
}

/** The answer to a write: the ticket that `drain` will name, and one result per operation. */
export interface Written extends ImportCounts { readonly ticket: number; readonly results: readonly OpResult[] }
export interface OpResult { readonly ids: readonly string[] }
/** What the imports among the operations came to, added up. */
export interface ImportCounts { readonly inserted: number; readonly unchanged: number; readonly archived: number; readonly duplicateIds: number }

/** A run of mutation ids: `<client>:<n>` and the `count - 1` after it; null where nothing was queued. */
export interface Span { readonly first: string; readonly count: number }
export type Spans = readonly (Span | null)[]

/** What happened to one collection. `all`: too much to list, read it anew. */
export interface Change {
  readonly collection: string
  readonly source: 'local' | 'remote' | 'tab' | 'remap' | 'reset'
  readonly added: readonly string[]
  readonly updated: readonly string[]
  readonly removed: readonly string[]
  readonly all?: boolean
  /** Those added, where the page has made them itself. */
  readonly rows?: readonly AnyRow[] | undefined
  /** Old and new id of records that keep their place. */
  readonly renamed?: readonly (readonly [string, string])[]
}

/** A verdict as it crosses: its error is still data. */
export interface RawVerdict { readonly status: string; readonly mutationId?: string | null; readonly error?: ErrorDetail }

/** Everything since the last drain. */
export interface Drained {
  readonly changes?: readonly Change[]
  readonly durable?: readonly { readonly ticket: number; readonly mutations: Spans }[]
  readonly failed?: readonly { readonly ticket: number; readonly error: ErrorDetail }[]
  /** With `count` for a run: `verdict` is the first one's, the others have the next `mutationId` and `rev` each. */
  readonly settled?: readonly { readonly mutationId: string; readonly verdict: RawVerdict; readonly count?: number }[]
  /** Writes that turned out to be of another record than the page had made up: one under the same key was there. */
  readonly became?: readonly { readonly ticket: number; readonly id: string }[]
  /** Old and new id of mutations that go again. */
  readonly resent?: readonly (readonly [string, string])[]
  readonly events?: readonly { readonly type: string; readonly detail: unknown }[]
  readonly status?: boolean
  readonly queue?: boolean
  readonly deadLetters?: boolean
  readonly conflicts?: boolean
  /** Stamps that writes were answered with may be out of date. */
  readonly replanned?: boolean
}
