// Asking the app's `onConflict` about conflicts that this device ran into. Each is asked about once while the page is open, and
// again after the next opening if there was no answer. Not here: what an answer does (`conflicts.resolve`).

import { HomingError } from './errors.js'
import type { AnyCollection } from './options.js'
import type { Choice, Conflict } from './types.js'
import type { Members } from './values.js'

/** After so long without an answer the app is told that something may be stuck. The answer still counts. */
const PATIENCE_MS = 5 * 60_000

/** What is needed of the session. */
export interface AskingHost {
  readonly name: string
  readonly scope: string
  readonly declaration: { readonly collections: { readonly [name: string]: AnyCollection } }
  readonly ended: AbortController
  /** Ids of those that wait for an answer of this device. */
  ownConflicts(): readonly string[]
  conflict(id: string): Conflict | undefined
  resolve(id: string, choice: Choice<Members>): Promise<unknown>
  /** Takes in what other tabs have decided. */
  catchUp(): Promise<void>
  dispatch(type: 'error', error: HomingError): void
}

/** What is asked of the page, and in a world of `homing/testing` of that. */
export interface AskingGround {
  /** Does it after so long, unless what is returned is called before. */
  after(ms: number, work: () => void): () => void
  /** Undefined where there are none. */
  locks(): LockManager | undefined
}

const PAGE: AskingGround = {
  after: (ms, work) => {
    const timer = setTimeout(work, ms)
    return () => clearTimeout(timer)
  },
  locks: () => globalThis.navigator?.locks,
}

export class Asking {
  readonly #host: AskingHost
  readonly #ground: AskingGround
  readonly #patience: number
  readonly #asked = new Set<string>()
  /** Whether any collection has a handler. */
  #asks: boolean | null = null
  #log: ((entry: string) => void) | undefined
  #underWay = 0

  constructor(host: AskingHost, ground = PAGE, patience = PATIENCE_MS) {
    this.#host = host
    this.#ground = ground
    this.#patience = patience
  }

  /** Asks about what is left from before; later, so that the app has its database by then. */
  start(log: ((entry: string) => void) | undefined): void {
    this.#log = log
    if (!this.#hasHandler()) return
    this.#underWay++
    this.#ground.after(0, () => {
      this.#underWay--
      this.look()
    })
  }

  /** How many of the app's answers, turns to ask, and looks at what is left are waited for. */
  get underWay(): number {
    return this.#underWay
  }

  /** Something changed: asks about what is new. */
  look(): void {
    const { declaration: { collections }, ended } = this.#host
    if (ended.signal.aborted || !this.#hasHandler()) return
    for (const id of this.#host.ownConflicts()) {
      const about = this.#asked.has(id) ? undefined : this.#host.conflict(id)
      if (about === undefined || collections[about.collection]?.onConflict === undefined) continue
      this.#asked.add(id)
      this.#underWay++
      this.#alone(id, () => this.#ask(id)).catch((error: unknown) => this.#report(id, 'aborted', 'failed', error)).finally(() => this.#underWay--)
    }
  }

  /** Every write asks. */
  #hasHandler(): boolean {
    return this.#asks ??= Object.values(this.#host.declaration.collections).some((declared) => declared?.onConflict !== undefined)
  }

  /** One tab at a time; where the browser has no locks, the first answer counts and the second is told that it was settled. */
  async #alone(id: string, work: () => Promise<void>): Promise<void> {
    const { name, scope, ended: { signal } } = this.#host
    const locks = this.#ground.locks()
    if (locks === undefined) return work()
    try {
      await locks.request(`homing:ask:${JSON.stringify([name, scope, id])}`, { signal }, async () => {
        await this.#host.catchUp()
        // A handler that never answers must not keep the lock of a closed database.
        await Promise.race([work(), new Promise<void>((end) => signal.addEventListener('abort', () => end(), { once: true }))])
      })
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  async #ask(id: string): Promise<void> {
    const { ended: { signal }, declaration: { collections } } = this.#host
    const conflict = this.#host.ownConflicts().includes(id) ? this.#host.conflict(id) : undefined
    const onConflict = conflict === undefined ? undefined : collections[conflict.collection]?.onConflict
    if (conflict === undefined || onConflict === undefined) return
    const calm = this.#ground.after(this.#patience, () => this.#report(id, 'timeout', 'has not answered'))
    signal.addEventListener('abort', calm, { once: true })
    let choice: Choice<Members>
    try {
      choice = await onConflict(conflict as Conflict<Members>)
    } catch (error) {
      return this.#report(id, 'aborted', 'failed', error)
    } finally {
      calm()
      signal.removeEventListener('abort', calm)
    }
    if (signal.aborted) return
    try {
      await this.#host.resolve(id, choice)
    } catch (error) {
      // Decided meanwhile, by a person or another device: that stands.
      if (error instanceof HomingError && error.code === 'not-found') return
      this.#report(id, error instanceof HomingError ? error.code : 'aborted', 'gave an answer that cannot be used', error)
    }
  }

  #report(id: string, code: HomingError['code'], what: string, cause?: unknown): void {
    const { collection = '' } = this.#host.conflict(id) ?? {}
    const error = new HomingError({ code, message: `onConflict of '${collection}' ${what}; conflict '${id}' waits for a decision.`, phase: 'apply', cause })
    this.#host.dispatch('error', error)
    this.#log?.(JSON.stringify({ level: 'warn', message: error.message, phase: 'apply', requestId: null, data: { code, collection, conflictId: id } }))
  }
}
