// Where the data lies and how much room is left: what `status.storage` says, and who is told before it is too late. Not here:
// what storage does when it is full or gone (the engine).

import type { Status } from './types.js'

type Room = Status['storage']

/** From this share of the quota on: the first is time to do something about it, at the second writes may fail any moment. */
const SCARCE = [0.8, 0.95] as const
const HEALTH = ['ok', 'degraded', 'critical'] as const
/** How long after a write the browser is asked, and how often at most: the question costs it some milliseconds. */
const SOON_MS = 1000
const OFTEN_MS = 60_000

export class RoomSource {
  #room: Room
  #scarcity: 0 | 1 | 2 = 0
  #next = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  readonly #tell: (lost: boolean) => void

  /** `tell` hears of every change that an app would want to know of at once. */
  constructor(durable: boolean, tell: (lost: boolean) => void) {
    this.#room = Object.freeze({ mode: durable ? 'indexeddb' : 'memory', durable, persisted: false, usage: null, quota: null, reason: null })
    this.#tell = tell
  }

  get room(): Room {
    return this.#room
  }

  /** How scarce room is, in the words of `status.health`. */
  get health(): Status['health'] {
    return HEALTH[this.#scarcity]
  }

  /** Asks the browser now. Resolves also where it does not answer. */
  async ask(): Promise<void> {
    this.#next = Date.now() + OFTEN_MS
    try {
      const storage: StorageManager | undefined = globalThis.navigator?.storage
      const [{ usage = null, quota = null } = {}, persisted = false] = await Promise.all([storage?.estimate?.(), storage?.persisted?.()])
      const before = this.#scarcity
      const share = usage !== null && quota !== null && quota > 0 ? usage / quota : 0
      this.#scarcity = share >= SCARCE[1] ? 2 : share >= SCARCE[0] ? 1 : 0
      this.#change({ usage, quota, persisted }, this.#scarcity !== before)
    } catch {
      // Not told: stays as it is.
    }
  }

  /** Something was written: asks in a while, where that was not done lately. */
  written(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      if (Date.now() >= this.#next) void this.ask()
    }, SOON_MS)
  }

  /** While opening it turned out so: told when the app has had time to listen. */
  found(change: Partial<Room>, lost = false): void {
    this.#change(change, false)
    setTimeout(() => this.#tell(lost))
  }

  /** The data is gone. */
  lost(reason: string): void {
    this.#change({ durable: false, reason }, true, true)
  }

  /** Asks the browser to keep the data when the disk is full; it may ask the user. */
  async persist(): Promise<boolean> {
    const storage: StorageManager | undefined = globalThis.navigator?.storage
    // Where it cannot be asked, it was not granted.
    const granted = await storage?.persist?.().catch(() => false) ?? false
    await this.ask()
    return granted
  }

  /** The session ended. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#next = Infinity
  }

  #change(change: Partial<Room>, important: boolean, lost = false): void {
    this.#room = Object.freeze({ ...this.#room, ...change })
    if (important) this.#tell(lost)
  }
}
