// The status of the database: what the engine says, plus what only the browser knows about storage.

import type { Engine } from './engine.js'
import { isErrorDetail, toHomingError, type HomingError } from './errors.js'
import { Source } from './observable.js'
import type { RoomSource } from './room.js'
import type { Status } from './types.js'
import { freeze } from './values.js'

const STORAGE: Status['storage'] = { mode: 'memory', durable: false, persisted: false, usage: null, quota: null, reason: null }
const HEALTH: readonly Status['health'][] = ['ok', 'degraded', 'critical']
/** Before anything is known, and on a server that renders the page. */
const INITIAL: Status = freeze({
  state: 'offline', online: false, until: null, lastSyncedAt: null, everSynced: false, progress: null, error: null,
  pending: 0, blocked: 0, deadLetters: 0, conflicts: 0, health: 'ok', storage: STORAGE,
} satisfies Status)

/** What is needed of the session. */
interface Host { readonly engine: Engine | null; readonly room: RoomSource; readonly ended: AbortController; refresh(): void }

export class StatusSource extends Source<Status> {
  readonly #session: Host
  #text = ''
  #room: Status['storage'] = STORAGE
  #asked = false
  #snapshot = INITIAL
  /** What those who listen know. It is not what was read last: anybody may read. */
  #told = INITIAL
  #failed: HomingError | null = null

  constructor(session: Host) {
    super(() => this.#read(), INITIAL)
    this.#session = session
  }

  // Nothing is read here: the first look costs more than the rest of opening.
  override subscribe: Source<Status>['subscribe'] = (listener, options) => {
    if (this.listeners.size === 0) this.#told = this.#snapshot
    return this.listeners.add(listener, options?.signal)
  }

  /** The engine says that it changed. Nothing is read while nobody listens. */
  changed(): void {
    if (this.listeners.size === 0) return
    const now = this.#read()
    if (now === this.#told) return
    this.#told = now
    this.listeners.emit()
  }

  /** The engine is gone. */
  fail(error: HomingError): void {
    this.#failed = error
  }

  #read(): Status {
    this.#session.refresh()
    const engine = this.#session.engine
    if (engine === null) {
      // Also where nobody had looked while it was open.
      if (this.#session.ended.signal.aborted || this.#snapshot !== INITIAL || this.#failed !== null) this.#close()
      return this.#snapshot
    }
    const { room } = this.#session
    // Asked when somebody looks for the first time: the question alone delays opening by 10 ms.
    if (!this.#asked) {
      this.#asked = true
      void room.ask().then(() => this.changed())
    }
    const text = engine.status()
    if (text !== this.#text || room.room !== this.#room) {
      this.#text = text
      this.#room = room.room
      this.#snapshot = this.#decode(text)
    }
    return this.#snapshot
  }

  #decode(text: string): Status {
    const status = JSON.parse(text) as Status
    return freeze({
      ...INITIAL,
      ...status,
      error: isErrorDetail(status.error) ? toHomingError(JSON.stringify(status.error), 'push') : null,
      health: worse(status.health, this.#session.room.health),
      storage: this.#room,
    })
  }

  #close(): void {
    if (this.#snapshot.state !== 'closed') this.#snapshot = freeze({ ...this.#snapshot, state: 'closed', online: false, error: this.#failed ?? this.#snapshot.error })
  }
}

function worse(one: Status['health'], other: Status['health']): Status['health'] {
  return HEALTH.indexOf(one) > HEALTH.indexOf(other) ? one : other
}
