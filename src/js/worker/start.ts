// Starting the worker: the script, the first message, and what can be wrong with it. Not here: what is said afterwards (`remote.ts`).

import type { Hooks } from '../engine.js'
import { HomingError } from '../errors.js'
import type { AnyOptions, Declaration } from '../options.js'
import { randomUuid, type Naming } from './naming.js'
import type { AskName, Opening } from './protocol.js'
import { localOf, setsOf } from '../values.js'
import { Remote } from './remote.js'

/** What an entry of the package brings for it. */
export interface WorkerParts {
  /** The script, where the entry has it inlined. */
  readonly script: (() => string) | null
  /** The module, or its text in base64. */
  wasm(): Promise<WebAssembly.Module | string>
}

/** What the page gives to its side of the engine. */
export interface Ground {
  readonly port: MessagePort
  readonly hooks: Hooks
  /** Whether there is a server for a collection. */
  syncs(collection: string): boolean
  /** The members of a collection that never leave the device. */
  localOf(collection: string): readonly string[]
  /** Those that are sets. */
  setsOf(collection: string): readonly string[]
  readonly naming: Naming
  /** Ends the worker. */
  end(): void
}

/** Opens the engine in a worker; resolves when every row is in the page. */
export async function openRemote(declaration: Declaration, options: AnyOptions, hooks: Hooks, parts: WorkerParts): Promise<Remote> {
  const wasm = await parts.wasm()
  const worker = spawn(options.worker, parts.script)
  const { port1, port2 } = new MessageChannel()
  const { collections } = declaration
  const ended = new AbortController()
  const naming = { now: sound(hooks.now, isInstant, Date.now), random: sound(hooks.random, isShare, Math.random), remaps: (name: string) => collections[name]?.ids === 'server' }
  const remote = new Remote({
    port: port1,
    hooks,
    naming,
    localOf: (name) => localOf(collections[name]),
    setsOf: (name) => setsOf(collections[name]),
    syncs: (name) => declaration.syncs && collections[name]?.sync !== false,
    end: () => {
      ended.abort()
      worker.terminate()
    },
  })
  const opening: Opening = {
    homing: 'open',
    text: absolute(declaration.text),
    stored: declaration.stored,
    durable: declaration.durable,
    wasm,
    asks: asksOf(hooks, options),
    logs: hooks.log !== undefined,
    blobs: hooks.blob?.(new Uint8Array()) != null,
    remapped: Object.keys(collections).filter(naming.remaps),
    local: Object.keys(collections).map((name) => [name, localOf(collections[name])] as const).filter(([, local]) => local.length > 0),
    now: hooks.now === undefined ? null : naming.now(),
    seed: hooks.random === undefined ? null : naming.random(),
    port: port2,
    alive: `homing:alive:${randomUuid()}`,
  }
  const open = remote.whenOpen()
  let started = false
  worker.addEventListener('error', (event) => {
    event.preventDefault()
    if (started) remote.crash(event.message ?? 'it ended')
    else remote.fail(forbidden(event.message))
  })
  try {
    worker.postMessage(opening, [port2])
  } catch (cause) {
    remote.fail(new HomingError({ code: 'unsupported-environment', message: 'The module cannot be handed to a worker here; open the database without `worker`.', phase: 'open', cause }))
  }
  await open
  started = true
  // A worker that is ended from outside says nothing, but it lets go of its lock.
  globalThis.navigator?.locks?.request(opening.alive, { signal: ended.signal }, () => remote.crash('it was ended')).catch(() => {
    // The page has ended it.
  })
  return remote
}

/** What a function of the app says, where it says a number that will do: its bugs stop nothing, here as in a page (`src/platform/web.rs`). */
function sound(given: (() => number) | undefined, willDo: (n: number) => boolean, otherwise: () => number): () => number {
  if (given === undefined) return otherwise
  return () => {
    try {
      const said: unknown = given()
      if (typeof said === 'number' && willDo(said)) return said
    } catch {
      // As if it had said nothing.
    }
    return otherwise()
  }
}

function isInstant(ms: number): boolean {
  return !Number.isNaN(new Date(ms).getTime())
}

function isShare(n: number): boolean {
  return n >= 0 && n < 1
}

function spawn(given: AnyOptions['worker'], script: (() => string) | null): Worker {
  try {
    if (typeof given === 'function') return given()
    if (script === null) throw new HomingError({ code: 'unsupported-environment', message: "This entry of the package has no worker inside: pass one that runs homing/worker, as `worker: () => new Worker('/homing-worker.js')`.", phase: 'open', path: '/worker' })
    const address = URL.createObjectURL(new Blob([script()], { type: 'text/javascript' }))
    try {
      return new Worker(address)
    } finally {
      // The browser has taken it by then.
      setTimeout(() => URL.revokeObjectURL(address), 60_000)
    }
  } catch (cause) {
    throw cause instanceof HomingError ? cause : forbidden(cause instanceof Error ? cause.message : undefined, cause)
  }
}

/** Browsers do not say why a worker did not start; a policy is why where it was never asked to load anything else. */
function forbidden(why: string | undefined, cause?: unknown): HomingError {
  const said = why === undefined || why === '' ? '' : ` (${why})`
  return new HomingError({
    code: 'unsupported-environment',
    message: `The worker could not be started${said}. If the page has a Content-Security-Policy, add blob: to it (worker-src blob:), or serve node_modules/homing/dist/worker.js and pass worker: () => new Worker(address).`,
    phase: 'open',
    path: '/worker',
    cause,
  })
}

/** Without functions of the app the worker does everything itself. */
function asksOf(hooks: Hooks, { platform }: AnyOptions): AskName[] {
  const names: AskName[] = ['getToken', 'headers', 'push', 'pull', 'fetch', 'turn', 'turnLasts']
  return names.filter((name) => hooks[name] !== undefined && (name !== 'fetch' || platform?.fetch !== undefined))
}

/** A worker made from a text has no address that a relative one could be resolved against. */
function absolute(text: string): string {
  const declared = JSON.parse(text) as { sync?: { url?: string } }
  const { sync } = declared
  if (typeof sync?.url !== 'string') return text
  try {
    return JSON.stringify({ ...declared, sync: { ...sync, url: new URL(sync.url, globalThis.document?.baseURI ?? location.href).href } })
  } catch {
    // No address at all: the request will say so.
    return text
  }
}
