// Collections declared `lazy`: which of them are here, and reading them once when they are asked for. Not here: what the engine reads
// on its own account, which the page does not see.

import type { Engine } from './engine.js'
import { HomingError, closedError, type Phase } from './errors.js'
import type { Declaration } from './options.js'

export interface LazyHost {
  readonly engine: Engine | null
  during<T>(call: Promise<T>): Promise<T>
  failure(thrown: unknown, phase: Phase): HomingError
}

const READY = Promise.resolve()

export class Lazy {
  readonly #host: LazyHost
  readonly #absent: Set<string>
  readonly #asked = new Map<string, Promise<void>>()

  constructor(declaration: Declaration, host: LazyHost) {
    this.#host = host
    this.#absent = new Set(Object.keys(declaration.collections).filter((name) => declaration.collections[name]?.lazy === true))
  }

  isHere(name: string): boolean {
    return !this.#absent.has(name)
  }

  /** The engine says that it has read it. */
  arrived(name: string): void {
    this.#absent.delete(name)
  }

  /** Reads a collection; at once where it is here. */
  load(name: string): Promise<void> {
    if (this.isHere(name)) return this.#asked.get(name) ?? READY
    let asked = this.#asked.get(name)
    if (asked === undefined) {
      this.#asked.set(name, asked = this.#read(name))
      // The next call tries afresh; nobody has to look at this one.
      asked.catch(() => this.#asked.delete(name))
    }
    return asked
  }

  /** Everything that is not here yet; null where nothing is missing. */
  loadAll(): Promise<unknown> | null {
    return this.#absent.size === 0 ? null : Promise.all([...this.#absent].map((name) => this.load(name)))
  }

  /**
   * Begins to read what is asked for too early.
   *
   * @throws HomingError `not-loaded`
   */
  need(name: string, phase: Phase): void {
    if (this.isHere(name) || this.#host.engine === null) return
    this.load(name).catch(() => {})
    throw notLoaded(name, phase)
  }

  /** The same for all there is. */
  needAll(phase: Phase): void {
    for (const name of this.#absent) this.need(name, phase)
  }

  async #read(name: string): Promise<void> {
    const { engine } = this.#host
    if (engine === null) throw closedError('apply')
    try {
      await this.#host.during(engine.load(name))
    } catch (thrown) {
      throw this.#host.failure(thrown, 'storage')
    }
  }
}

function notLoaded(name: string, phase: Phase): HomingError {
  return new HomingError({ code: 'not-loaded', message: `${name} is declared lazy and is being read now: wait for \`db.collection('${name}').ready\` first.`, phase, retryable: true })
}
