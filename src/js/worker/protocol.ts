// What page and worker say to each other: plain data only, rows and lists as JSON text. Not here: who says it (`remote.ts` in the
// page, `host.ts` in the worker) and what rows look like before the worker has seen them (`provisional.ts`).

import type { Change, Drained } from '../engine.js'
import type { ErrorDetail } from '../errors.js'
import type { Made } from './naming.js'

/** The first message, posted to the worker itself; everything else goes through the port that comes with it. */
export interface Opening {
  readonly homing: 'open'
  /** The declaration, as `openEngine` takes it. */
  readonly text: string
  readonly stored: string
  readonly durable: boolean
  /** The compiled module, or the inlined one in base64: decoding it is the worker's work. */
  readonly wasm: WebAssembly.Module | string
  /** Functions that the app gave: the worker asks the page. */
  readonly asks: readonly AskName[]
  readonly logs: boolean
  /** Whether large bodies may leave as blobs; a worker does not see what the page is controlled by. */
  readonly blobs: boolean
  /** Collections whose ids the server gives. */
  readonly remapped: readonly string[]
  /** Collections with members that never leave the device, and these. */
  readonly local: readonly (readonly [string, readonly string[]])[]
  /** What the app's clock says, and a number of its randomness, where it brought its own. */
  readonly now: number | null
  readonly seed: number | null
  readonly port: MessagePort
  /** A Web Lock that the worker holds as long as it lives. */
  readonly alive: string
}

/** Functions of the app that the engine waits for. */
export type AskName = 'getToken' | 'headers' | 'push' | 'pull' | 'fetch' | 'turn' | 'turnLasts'
/** Calls that answer later. */
export type CallName = 'load' | 'purge' | 'sync' | 'catchUp' | 'durable' | 'close' | 'destroy'
/** Calls that nobody waits for. */
export type TellName = 'pause' | 'resume' | 'online' | 'visible' | 'setWriter' | 'letGo'
/** Decisions; they are durable like writes. */
export type OrderName = 'discard' | 'discardDead' | 'retryDead' | 'resolve' | 'reinstate'
export type Argument = string | number | boolean | undefined

/** A batch as the page has shown it. */
export interface Write {
  readonly kind: 'write'
  /** Counts writes and orders; the ticket of the page. */
  readonly seq: number
  readonly batch: Uint8Array
  /** What the page's clock said, and the stamp it showed. */
  readonly now: number
  readonly at: number
  /** The ids of records that came without one, in their order, and the randomness in them: the engine makes the same. */
  readonly made: readonly Made[]
  /** Whether it has an idempotency key: then it may be one that was there before. */
  readonly keyed: boolean
  /** Whether its records came ahead, as `lines`. */
  readonly pieces?: boolean
}

export type ToWorker =
  | Write
  /** Records of the next write, one per line, a line end after each. */
  | { readonly kind: 'lines'; readonly bytes: Uint8Array<ArrayBuffer> }
  /** That write will not come. */
  | { readonly kind: 'forget' }
  | { readonly kind: 'order'; readonly seq: number; readonly now: number; readonly name: OrderName; readonly args: readonly Argument[] }
  | { readonly kind: 'call'; readonly call: number; readonly name: CallName; readonly args: readonly Argument[] }
  | { readonly kind: 'tell'; readonly name: TellName; readonly args: readonly Argument[] }
  | { readonly kind: 'told'; readonly ask: number; readonly value: unknown }
  | { readonly kind: 'refused'; readonly ask: number; readonly why: Failure }

/** An error of the app's functions, as far as the engine looks at one. */
export interface Failure { readonly message: string; readonly name?: string; readonly status?: number; readonly code?: string; readonly retryAfterMs?: number }

/** A list of which only what changed crosses: texts by id. */
export interface ListNews {
  /** Forget everything first. */
  readonly anew: boolean
  readonly gone: readonly string[]
  /** In order; what is new comes last. */
  readonly put: readonly Listed[]
}
/** A long list in one piece, UTF-8: a JSON array, and the patches by id. Nobody takes it apart before somebody looks. */
export interface WholeList { readonly whole: Uint8Array<ArrayBuffer>; readonly patches?: Uint8Array<ArrayBuffer> }
export interface Listed { readonly id: string; readonly text: string; readonly patch?: string | undefined }

/** Where a record stands that is not just as the server has it; one of a list whose ids are `recordKey`. */
export interface Standing { readonly id: string; readonly state: string; readonly confirmed: string | null }

/** Names a record among those of all collections. */
export function recordKey(collection: string, id: string): string {
  return `${collection}\n${id}`
}

/** What happened to a collection: the ids, and how many of the pieces posted before hold their rows. */
export interface RowsNews {
  readonly collection: string
  readonly source: Change['source']
  /** The pieces are all there is. */
  readonly all: boolean
  readonly pieces: number
  /** Ids of which there is no row, not even a tombstone. */
  readonly gone: readonly string[]
  /** Old and new ids, also of records that the page knows by the new one, or not at all. */
  readonly renamed: Change['renamed']
}

/** Everything since the last one. */
export interface News {
  readonly kind: 'news'
  readonly rows: readonly RowsNews[]
  /** Planned batches; `exact`: every row became what the page had shown; `id`: the record of a keyed one or of a decision. */
  readonly planned: readonly { readonly seq: number; readonly exact: boolean; readonly id?: string | undefined }[]
  readonly refused: readonly { readonly seq: number; readonly error: ErrorDetail }[]
  /** The rest of what the engine said; tickets are the page's. */
  readonly drained: Omit<Drained, 'changes'>
  /** Texts, where they changed. */
  readonly status?: string
  readonly metrics?: string
  readonly ownConflicts?: string
  readonly queue?: ListNews | WholeList
  readonly explain?: ListNews | WholeList
  readonly deadLetters?: ListNews
  readonly conflicts?: ListNews
  readonly standings?: ListNews
}

export type FromWorker =
  | { readonly kind: 'opened'; readonly clientId: string; readonly isNew: boolean; readonly storage: string }
  | { readonly kind: 'failed'; readonly error: ErrorDetail }
  | Piece
  | News
  | { readonly kind: 'answer'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'unanswered'; readonly call: number; readonly error: ErrorDetail }
  | { readonly kind: 'ask'; readonly ask: number; readonly name: AskName; readonly args: readonly unknown[] }
  | { readonly kind: 'abort'; readonly ask: number }
  /** The turn to send that was asked for is over. */
  | { readonly kind: 'turnOver'; readonly ask: number }
  | { readonly kind: 'gone'; readonly how: 'closed' | 'deleted' | 'outdated' }
  | { readonly kind: 'appended'; readonly head: number }
  | { readonly kind: 'log'; readonly entry: string }
  | { readonly kind: 'crashed'; readonly message: string }

/** Rows: their ids, and in UTF-8 their texts, one per line. */
export interface Piece {
  readonly kind: 'piece'
  readonly collection: string
  readonly ids: string
  readonly texts: Uint8Array<ArrayBuffer>
  /** Where the line of each text ends, and which of them are tombstones. */
  readonly ends: Uint32Array<ArrayBuffer>
  readonly dead: readonly number[]
}

/** From so many waiting mutations on, the lists follow at intervals, and whole: making them takes longer than a write. */
export const MANY = 500
/** The most text of one message: what the page takes in without anybody noticing. */
export const PIECE_BYTES = 256 * 1024
/** And the most rows. */
export const PIECE_ROWS = 1000
