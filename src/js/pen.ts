// The pen of a database in `localStorage`, which knows no transactions: the tab that has it writes, the others read. Whoever moves what lies there
// to IndexedDB takes the pen from the tab that has it, so that nothing is written behind his back. Where there are no locks every tab writes: a
// page has its calls to itself, and appends look first. Not here: that storage (`src/storage/local_storage.rs`).

import { parseStoredName } from './names.js'
import type { Session } from './session.js'

/** A tab that has not let go by then is frozen, and writes nothing. */
const PATIENCE_MS = 5000
/** How long what was written before it was let go of may take to be seen here. */
const SEEN_MS = 1000
const LOOK_MS = 5

const lockOf = (name: string, scope: string): string => `homing:pen:${JSON.stringify([name, scope])}`
const noteOf = (stored: string): string => `${stored}|let-go`

/** Asks the tabs that work there to let go; `token` is what the one that wrote leaves behind its last row. */
interface Asking { readonly letGo: string }

/** What this tab has of the pen of its own database. */
export class Pen {
  readonly #session: Session
  #works = false
  /** Lets go of it, or of the place in the line. */
  #leave: (() => void) | null = null
  #has = false

  constructor(session: Session) {
    this.#session = session
  }

  /** This tab works there: it writes if nobody else does, else when it is its turn. */
  async take(): Promise<void> {
    const locks = globalThis.navigator?.locks
    if (locks === undefined) return
    this.#works = true
    const { name, scope } = this.#session
    const free = await new Promise<boolean>((resolve) => {
      locks.request(lockOf(name, scope), { ifAvailable: true }, (held) => {
        resolve(held !== null)
        return held === null ? undefined : this.#hold()
      }).catch(() => {
        resolve(true)
        // Somebody lost patience with this tab.
        if (this.#has) this.#line()
      })
    })
    if (!free) this.#line()
  }

  /** Hears what another tab says; whether it was that. */
  hear(data: unknown): boolean {
    if (typeof data !== 'object' || data === null || !('letGo' in data)) return false
    if (!this.#works) return true
    if (this.#has) {
      this.#session.engine?.setWriter(false)
      try {
        globalThis.localStorage?.setItem(noteOf(this.#session.declaration.stored), String((data as Asking).letGo))
      } catch {
        // Full: whoever waits for it waits a little longer.
      }
    }
    this.#leave?.()
    this.#line()
    return true
  }

  #hold(): Promise<void> {
    this.#has = true
    return new Promise((end) => {
      this.#leave = end
      this.#session.ended.signal.addEventListener('abort', () => end(), { once: true })
    })
  }

  #line(): void {
    this.#has = false
    const { name, scope, ended: { signal }, engine } = this.#session
    if (signal.aborted || engine === null) return
    engine.setWriter(false)
    const waiting = new AbortController()
    this.#leave = () => waiting.abort()
    signal.addEventListener('abort', () => waiting.abort(), { once: true })
    globalThis.navigator.locks.request(lockOf(name, scope), { signal: waiting.signal }, async () => {
      await this.#session.catchUp()
      // Asked to let go meanwhile: it is in the line again.
      if (waiting.signal.aborted) return
      engine.setWriter(true)
      await this.#hold()
    }).catch(() => {
      // It ended before, or what it works on is not there any more; or somebody lost patience with it.
      if (this.#has) this.#line()
    })
  }
}

/** Takes the pen of a database, to move what lies there; resolves to what gives it back, to null where there are no locks. */
export async function takePen(stored: string): Promise<(() => void) | null> {
  const [locks, named] = [globalThis.navigator?.locks, parseStoredName(stored)]
  if (locks === undefined || named === null) return null
  const lock = lockOf(named.name, named.scope)
  const request = (options: LockOptions): Promise<(() => void) | null> => new Promise((resolve) => {
    locks.request(lock, options, (held) => held === null ? resolve(null) : new Promise<void>((end) => resolve(end))).catch(() => resolve(null))
  })
  const free = await request({ ifAvailable: true })
  if (free !== null) return free
  const [token, waiting] = [`${Date.now()} ${Math.random()}`, new AbortController()]
  const patience = setTimeout(() => waiting.abort(), PATIENCE_MS)
  // In the line before the others are asked, who then stand behind.
  const next = request({ signal: waiting.signal })
  ask(named, { letGo: token })
  const pen = await next
  clearTimeout(patience)
  if (pen === null) return waiting.signal.aborted ? request({ steal: true }) : null
  await seen(stored, token)
  return pen
}

function ask({ name, scope }: { readonly name: string; readonly scope: string }, asking: Asking): void {
  try {
    const channel = new BroadcastChannel(`homing:${JSON.stringify([name, scope])}`)
    channel.postMessage(asking)
    channel.close()
  } catch {
    // None here: the others are waited for, and then not any more.
  }
}

/** Other processes hear of items in the order in which they were written, but later than of locks. A tab that was closed leaves none. */
async function seen(stored: string, token: string): Promise<void> {
  const until = Date.now() + SEEN_MS
  while (globalThis.localStorage?.getItem(noteOf(stored)) !== token && Date.now() < until) await new Promise((resolve) => { setTimeout(resolve, LOOK_MS) })
}
