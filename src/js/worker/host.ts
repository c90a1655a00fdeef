// The worker's script: the engine with its hooks, and what the page asks of it. Not here: what is told to the page after each change
// (`teller.ts`), the app's functions (`asks.ts`).

import { openEngine } from '#wasm'
import { decodeBase64 } from '../base64.js'
import { EarlyReading } from '../early.js'
import { read, type Answer, type Engine, type HostedEngine, type Hooks, type Written } from '../engine.js'
import { toHomingError, type Phase } from '../errors.js'
import { loadWasm } from '../loader.js'
import { Asks } from './asks.js'
import { randomFrom, type Made } from './naming.js'
import type { Argument, CallName, FromWorker, Opening, OrderName, TellName, ToWorker, Write } from './protocol.js'
import { Teller } from './teller.js'

type Planned = Pick<Written, 'ticket'> & Partial<Written>

class Host {
  readonly #opening: Opening
  readonly #asks: Asks
  #engine: Engine | null = null
  #teller: Teller | null = null
  #scheduled = false
  /** What the page's clock said when it wrote; null outside of writes. */
  #writing: number | null = null
  /** Ids that the page has given, until the engine has made them too. */
  #made: Made[] = []
  /** Records that came ahead of their write. */
  #lines: Uint8Array[] = []
  /** The app's clock minus the worker's own. */
  #ahead = 0

  constructor(opening: Opening) {
    this.#opening = opening
    this.#asks = new Asks(opening.asks, opening.blobs, (message) => this.#post(message))
    opening.port.onmessage = ({ data }: MessageEvent<readonly ToWorker[]>) => this.#hear(data)
    this.#hearClock(opening.now)
  }

  async open(): Promise<void> {
    const { text, stored, durable, wasm, alive } = this.#opening
    const early = durable ? new EarlyReading(stored) : null
    try {
      await loadWasm(() => typeof wasm === 'string' ? decodeBase64(wasm) : wasm)
      const engine = await openEngine(text, this.#hooks(), early ?? undefined) as HostedEngine
      this.#engine = engine
      this.#teller = new Teller(engine, this.#opening, (message, transfer) => this.#post(message, transfer))
      this.#teller.tellAll()
      await hold(alive)
      this.#post({ kind: 'opened', clientId: engine.clientId(), isNew: engine.isNew(), storage: engine.storage() })
      this.#flush()
    } catch (thrown) {
      early?.drop().catch(() => {})
      this.#post({ kind: 'failed', error: toHomingError(thrown, 'open').toJSON() })
    }
  }

  #hooks(): Hooks {
    const { logs, now, seed } = this.#opening
    const hooks: Hooks = {
      notify: () => this.#schedule(),
      appended: (head) => this.#post({ kind: 'appended', head }),
      fetch: async (url, init) => fetch(url, init),
      now: () => this.#writing ?? Date.now() + (now === null ? 0 : this.#ahead),
      gone: (how) => this.#post({ kind: 'gone', how }),
      ...this.#asks.hooks,
    }
    if (logs) hooks.log = (entry) => this.#post({ kind: 'log', entry })
    const random = seed === null ? Math.random : randomFrom(seed)
    hooks.random = () => this.#next('drawn') ?? random()
    // Where there is none the engine draws its own.
    hooks.uuid = () => this.#next('uuid') as string
    return hooks
  }

  #hear(messages: readonly ToWorker[]): void {
    const engine = this.#engine
    for (const message of messages) {
      if (message.kind === 'told' || message.kind === 'refused') this.#asks.hear(message)
      else if (engine !== null) this.#do(engine, message)
    }
    this.#flush()
  }

  #do(engine: Engine, message: Exclude<ToWorker, { kind: 'told' | 'refused' }>): void {
    switch (message.kind) {
      case 'lines':
        this.#lines.push(message.bytes)
        return
      case 'forget':
        this.#lines = []
        return
      case 'write':
        return this.#write(engine, message)
      case 'order':
        return this.#plan(message.seq, message.now, () => order(engine, message.name, message.args), null)
      case 'call':
        this.#call(engine, message.call, message.name, message.args)
        return
      case 'tell':
        return this.#guard(() => tell(engine, message.name, message.args))
    }
  }

  #write(engine: Engine, given: Write): void {
    const message = given.pieces === true ? { ...given, batch: joinLines(given.batch, this.#lines) } : given
    this.#lines = []
    this.#made = message.made.slice()
    this.#plan(message.seq, message.now, () => (message.keyed ? read(engine.write(message.batch)) : { ticket: engine.writeKnown(message.batch) }), message)
    this.#made = []
  }

  /** What the next id is made of, where the page has made it already. */
  #next<K extends 'uuid' | 'drawn'>(kind: K): Made[K] {
    return this.#made[0]?.[kind] == null ? null : this.#made.shift()?.[kind] ?? null
  }

  #plan(seq: number, now: number, work: () => Planned, write: Write | null): void {
    this.#hearClock(now)
    this.#writing = now
    try {
      const { ticket, results } = work()
      this.#teller?.planned(seq, ticket, write, results?.[0]?.ids[0])
    } catch (thrown) {
      const error = toHomingError(thrown, 'write')
      this.#teller?.refused(seq, error.toJSON())
      if (error.code === 'engine-crashed') this.#crash(error.message)
    } finally {
      this.#writing = null
    }
  }

  async #call(engine: Engine, call: number, name: CallName, args: readonly Argument[]): Promise<void> {
    try {
      const value = await calls[name](engine, args)
      // What it did is known before its answer is; after a cycle also the lists.
      this.#flush(name === 'sync' || name === 'purge')
      this.#post({ kind: 'answer', call, value })
    } catch (thrown) {
      const error = toHomingError(thrown, PHASES[name])
      this.#flush(name === 'sync')
      this.#post({ kind: 'unanswered', call, error: error.toJSON() })
      if (error.code === 'engine-crashed') this.#crash(error.message)
    }
  }

  /** Tells the page in a microtask: the engine says that it changed while it still works. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(whole = false): void {
    this.#guard(() => this.#teller?.tell(whole))
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (thrown) {
      this.#crash(toHomingError(thrown, 'apply').message)
    }
  }

  #crash(message: string): void {
    this.#engine = null
    this.#teller = null
    this.#post({ kind: 'crashed', message })
  }

  #hearClock(now: number | null): void {
    if (now !== null) this.#ahead = now - Date.now()
  }

  #post(message: FromWorker, transfer: Transferable[] = []): void {
    this.#opening.port.postMessage(message, transfer)
  }

  /** A trap inside a task of the engine ends nothing but that task: nothing works any more all the same. */
  listen(): void {
    addEventListener('unhandledrejection', ({ reason }) => {
      if (reason instanceof WebAssembly.RuntimeError) this.#crash(reason.message)
    })
  }
}

const PHASES: { readonly [K in CallName]: Phase } = { load: 'storage', purge: 'write', sync: 'push', catchUp: 'storage', durable: 'storage', close: 'close', destroy: 'close' }

const calls: { readonly [K in CallName]: (engine: Engine, args: readonly Argument[]) => Promise<unknown> } = {
  load: (engine, [collection]) => engine.load(String(collection)),
  purge: (engine, [before]) => engine.purge(before as string | undefined),
  sync: (engine, [options]) => engine.sync(String(options)),
  catchUp: (engine) => engine.catchUp(),
  durable: (engine) => engine.durable(),
  close: (engine) => engine.close(),
  destroy: (engine, [discardPending]) => engine.destroy(discardPending === true),
}

function tell(engine: Engine, name: TellName, [yes]: readonly Argument[]): void {
  if (name === 'pause' || name === 'resume' || name === 'letGo') engine[name]()
  else engine[name](yes === true)
}

/** A batch: its head, and the lines that came in pieces; they end with a line end, which a batch does not. */
function joinLines(head: Uint8Array, pieces: readonly Uint8Array[]): Uint8Array {
  const batch = new Uint8Array(head.length + pieces.reduce((sum, { length }) => sum + length, 0))
  batch.set(head)
  batch[head.length] = 0x0a
  let at = head.length + 1
  for (const piece of pieces) {
    // Only the line end of the last one is too much.
    batch.set(at + piece.length > batch.length ? piece.subarray(0, -1) : piece, at)
    at += piece.length
  }
  return batch
}

/** Takes the lock that says that this worker lives; where there are no locks the page does without. */
function hold(name: string): Promise<void> {
  return new Promise((held) => {
    const forever = (): Promise<never> => {
      held()
      return new Promise<never>(() => {})
    }
    const asked = globalThis.navigator?.locks?.request(name, forever)
    if (asked === undefined) held()
    else asked.catch(() => held())
  })
}

/** What a decision came to. */
function order(engine: Engine, name: OrderName, [id, more]: readonly Argument[]): Planned {
  const answers: { readonly [K in OrderName]: () => Answer<Written> } = {
    discard: () => engine.discard(String(id)),
    discardDead: () => engine.discardDead(String(id), more === true),
    retryDead: () => engine.retryDead(String(id), more as string | undefined),
    resolve: () => engine.resolve(String(id), String(more)),
    reinstate: () => engine.reinstate(String(id)),
  }
  return read(answers[name]())
}

addEventListener('message', ({ data }: MessageEvent<Partial<Opening> | null>) => {
  if (data?.homing !== 'open') return
  const host = new Host(data as Opening)
  host.listen()
  void host.open()
}, { once: true })
