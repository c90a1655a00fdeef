// The status of the database: what the engine says, plus what only the browser knows about storage.

import type { Engine } from './engine.js'
import { isErrorDetail, toHomingError, type HomingError } from './errors.js'
import { Source } from './observable.js'
import type { Status } from './types.js'
import { freeze } from './values.js'

const STORAGE: Status['storage'] = { mode: 'memory', durable: false, persisted: false, usage: null, quota: null }
/** Before anything is known, and on a server that renders the page. */
const INITIAL: Status = freeze({
  state: 'offline', online: false, until: null, lastSyncedAt: null, everSynced: false, progress: null, error: null,
  pending: 0, blocked: 0, deadLetters: 0, conflicts: 0, health: 'ok', storage: STORAGE,
} satisfies Status)

/** What is needed of the session. */
interface Host { readonly engine: Engine | null; readonly declaration: { readonly durable: boolean }; refresh(): void }
interface Estimate { readonly usage: number | null; readonly quota: number | null; readonly persisted: boolean }

export class StatusSource extends Source<Status> {
  readonly #session: Host
  #text = ''
  #estimate: Estimate = { usage: null, quota: null, persisted: false }
  #asked = false
  #snapshot = INITIAL
  #failed: HomingError | null = null

  constructor(session: Host) {
    super(() => this.#read(), INITIAL)
    this.#session = session
  }

  /** The engine says that it changed. Nothing is read while nobody listens. */
  changed(): void {
    if (this.listeners.size === 0) return
    const before = this.#snapshot
    if (this.#read() !== before) this.listeners.emit()
  }

  /** The engine is gone. */
  fail(error: HomingError): void {
    this.#failed = error
  }

  /** Asks the browser about storage, when somebody looks for the first time: the question alone delays opening by 10 ms. */
  #askOnce(): void {
    if (this.#asked) return
    this.#asked = true
    this.#ask().then((estimate) => {
      this.#estimate = estimate
      this.#text = ''
      this.changed()
    }).catch(() => {
      // Not told: stays unknown.
    })
  }

  async #ask(): Promise<Estimate> {
    const storage: StorageManager | undefined = globalThis.navigator?.storage
    const [{ usage, quota } = {}, persisted] = await Promise.all([storage?.estimate?.(), storage?.persisted?.()])
    return { usage: usage ?? null, quota: quota ?? null, persisted: persisted ?? false }
  }

  #read(): Status {
    this.#session.refresh()
    const engine = this.#session.engine
    if (engine === null) {
      if (this.#snapshot !== INITIAL || this.#failed !== null) this.#close()
      return this.#snapshot
    }
    this.#askOnce()
    const text = engine.status()
    if (text !== this.#text) {
      this.#text = text
      this.#snapshot = this.#decode(text)
    }
    return this.#snapshot
  }

  #decode(text: string): Status {
    const status = JSON.parse(text) as Status
    const { durable } = this.#session.declaration
    return freeze({
      ...INITIAL,
      ...status,
      error: isErrorDetail(status.error) ? toHomingError(JSON.stringify(status.error), 'push') : null,
      storage: { mode: durable ? 'indexeddb' : 'memory', durable, ...this.#estimate },
    })
  }

  #close(): void {
    if (this.#snapshot.state !== 'closed') this.#snapshot = freeze({ ...this.#snapshot, state: 'closed', online: false, error: this.#failed ?? this.#snapshot.error })
  }
}
