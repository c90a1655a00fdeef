// What the app declares, checked and put into the form the engine takes, and its functions as the hooks that the engine calls.

import { checkOptions, refuse } from './checks.js'
import type { Hooks } from './engine.js'
import { HomingError, reportCallbackError } from './errors.js'
import { storedName } from './names.js'
import type { CollectionOptions, LogEntry, OpenOptions, PullRequest, PushRequest, SyncOptions } from './types.js'
import { step, type Members } from './values.js'

/** The declaration of a collection whose record type does not matter here. */
export type AnyCollection = CollectionOptions<Members>
/** Options for any schema. */
export type AnyOptions = OpenOptions<{ [name: string]: Members }>

/** The part of the options that is data. */
export interface Declaration {
  readonly name: string
  readonly scope: string
  /** What its storage calls the database. */
  readonly stored: string
  /** Without a prototype: any name can be looked up. */
  readonly collections: { readonly [name: string]: AnyCollection }
  /** The scope whose unsent work moves here. */
  readonly adopts: string | null
  /** Whether there is a server at all. */
  readonly syncs: boolean
  /** Whether data outlives the page. */
  readonly durable: boolean
  /** Whether the engine runs in a worker. */
  readonly inWorker: boolean
  /** What the engine takes; equal texts are equal options. */
  readonly text: string
}

/**
 * Checks the options and takes out what is data.
 *
 * @throws HomingError `invalid-record` with the path of the option
 */
export function declare(options: AnyOptions): Declaration {
  checkOptions(options)
  const { name, scope = '', adoptScope, collections = {}, version = 0, durability = 'relaxed', storage = 'auto', maxQueue, sync, worker = false } = options
  for (const [collection, declared] of Object.entries(collections)) checkJson(`/collections${step(collection)}`, declared)
  const data = sync === undefined ? undefined : syncData(sync)
  return {
    name,
    scope,
    stored: storedName(name, scope),
    collections: Object.assign(Object.create(null) as { [name: string]: AnyCollection }, collections),
    adopts: adoptScope ?? null,
    syncs: sync !== undefined,
    durable: storage !== 'memory',
    inWorker: worker !== false,
    text: JSON.stringify({ stored: storedName(name, scope), adoptStored: adoptScope === undefined || adoptScope === scope ? undefined : storedName(name, adoptScope), schema: { version, collections }, durability, storage, maxQueue, sync: data }),
  }
}

/** Of a BigInt or a cycle no text can be made. */
function checkJson(path: string, value: unknown): void {
  try {
    JSON.stringify(value)
  } catch (cause) {
    throw refuse(path, 'Options have to be JSON, apart from functions', cause)
  }
}

function syncData({ url, auto = true, debounce = 250, pollInterval = 60_000, timeout = 30_000, maxAttempts, batch, credentials, transport }: SyncOptions): object {
  return { url, auto, debounce, pollInterval, timeout, maxAttempts, batch: { mutations: batch?.mutations, bytes: batch?.bytes }, credentials, custom: transport !== undefined }
}

/** What the hooks tell the session. */
export interface HookTarget {
  touch(): void
  appended(head: number): void
  readonly ended: AbortController
}

/** The hooks of an engine: every function of the app runs in a promise, so what it throws rejects and what it calls is safe. */
export function makeHooks({ sync, platform, logger }: AnyOptions, target: HookTarget): Hooks {
  const hooks: Hooks = {
    notify: () => target.touch(),
    appended: (head) => target.appended(head),
    fetch: async (url, init) => (platform?.fetch ?? globalThis.fetch)(url, init),
  }
  const { getToken, headers, transport } = sync ?? {}
  if (getToken !== undefined) hooks.getToken = singleFlight((refresh) => getToken({ refresh, signal: target.ended.signal }))
  if (typeof CompressionStream === 'function') hooks.gzip = gzip
  if (platform?.fetch === undefined) hooks.blob = blob
  if (headers !== undefined) hooks.headers = async () => [...new Headers(await headers())]
  if (transport !== undefined) {
    hooks.push = async (request, token, signal) => answer(await transport.push(JSON.parse(request) as PushRequest, { token, signal }))
    hooks.pull = async (request, token, signal) => answer(await transport.pull(JSON.parse(request) as PullRequest, { token, signal }))
  }
  if (platform?.now !== undefined) hooks.now = platform.now.bind(platform)
  if (platform?.random !== undefined) hooks.random = platform.random.bind(platform)
  if (logger !== undefined) hooks.log = (entry) => queueMicrotask(() => log(logger, entry))
  return hooks
}

/** One question at a time: the engine may have given up waiting and ask again, the app hears it once. */
function singleFlight(ask: (refresh: boolean) => Promise<string | null>): (refresh: boolean) => Promise<string | null> {
  const asked = new Map<boolean, Promise<string | null>>()
  return (refresh) => {
    let answer = asked.get(refresh)
    if (answer === undefined) {
      answer = (async () => await ask(refresh))().finally(() => asked.delete(refresh))
      asked.set(refresh, answer)
    }
    return answer
  }
}

/** A request body that `fetch` need not copy. Not where a service worker may pass it on: WebKit has sent such bodies empty. */
export function blob(bytes: Uint8Array<ArrayBuffer>): Blob | null {
  return globalThis.navigator?.serviceWorker?.controller == null ? new Blob([bytes]) : null
}

/** Compresses as HTTP does. */
export async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream('gzip'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

function answer(response: unknown): string {
  const text: unknown = JSON.stringify(response)
  if (typeof text !== 'string') throw new HomingError({ code: 'bad-response', message: 'The transport answered nothing.', phase: 'push', retryable: true })
  return text
}

function log(logger: (entry: LogEntry) => void, entry: string): void {
  try {
    logger(JSON.parse(entry) as LogEntry)
  } catch (error) {
    reportCallbackError(error)
  }
}

