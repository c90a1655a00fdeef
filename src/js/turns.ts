// Whose turn it is to send: one tab at a time, by a Web Lock held for one cycle. Its holder gives signs of life; from one that
// is frozen, or was killed in a way that the browser did not notice, the turn is taken. Two that send at once do no harm: the
// engine and the server see to that. Not here: when a tab wants to send (the engine).

const BEAT_MS = 1000
/** Most turns are over before anybody has to hear of them, and what is to be sent goes first. One that was taken from another tab is told
 * at once: the next one's patience is about to end, too. */
const FIRST_BEAT_MS = 16
/** Without a sign of life for so long the turn is taken; a random part more, so that not all take it at once. */
const PATIENCE_MS = 5000
const SPREAD_MS = 1000

export class Turns {
  readonly #name: string
  readonly #beat: () => void
  readonly #ended: AbortSignal
  /** Ends the turn that this tab has. */
  #end: (() => void) | null = null
  /** When this tab gave a sign of life last. */
  #beaten = 0
  /** Waits on, because the holder is alive. */
  #wait: (() => void) | null = null

  /** `beat` tells the other tabs that this one is alive. */
  constructor(name: string, beat: () => void, ended: AbortSignal) {
    this.#name = name
    this.#beat = beat
    this.#ended = ended
  }

  /** Resolves to the function that ends the turn; to null where there are no locks, or the session ended. */
  async take(): Promise<(() => void) | null> {
    const locks = globalThis.navigator?.locks
    if (locks === undefined || this.#ended.aborted) return null
    return new Promise((resolve) => {
      const waiting = new AbortController()
      let patience: ReturnType<typeof setTimeout> | undefined
      const settle = (end: (() => void) | null): void => {
        clearTimeout(patience)
        this.#wait = null
        this.#ended.removeEventListener('abort', giveUp)
        resolve(end)
      }
      const giveUp = (): void => {
        waiting.abort()
        settle(null)
      }
      const request = async (options: LockOptions): Promise<void> => {
        let end: (() => void) | undefined
        try {
          await locks.request(this.#name, options, () => new Promise<void>((release) => settle(end = this.#have(release, options.steal === true))))
        } catch {
          // The turn was taken from this tab; or it waits no more; or there may be no locks here (a sandboxed frame).
          if (end !== undefined) end()
          else if (!waiting.signal.aborted || options.steal === true) settle(null)
        }
      }
      this.#wait = () => {
        clearTimeout(patience)
        patience = setTimeout(() => {
          waiting.abort()
          void request({ steal: true })
        }, PATIENCE_MS + Math.random() * SPREAD_MS)
      }
      this.#wait()
      this.#ended.addEventListener('abort', giveUp, { once: true })
      void request({ signal: waiting.signal })
    })
  }

  /** Another tab that has the turn is alive. */
  heard(): void {
    this.#wait?.()
  }

  /** Ends the turn of a page that is put aside: it would keep all others waiting. */
  release(): void {
    this.#end?.()
  }

  /** Whether the turn that was taken last is this tab's still. */
  lasts(): boolean {
    if (this.#end === null) return false
    if (performance.now() - this.#beaten < PATIENCE_MS) {
      this.#live()
      return true
    }
    // It slept, and others need not have waited: even if the browser has not said yet that one of them has the turn.
    this.#end()
    return false
  }

  #live(): void {
    this.#beaten = performance.now()
    this.#beat()
  }

  #have(release: () => void, stolen: boolean): () => void {
    this.#beaten = performance.now()
    if (stolen) this.#beat()
    const first = setTimeout(() => this.lasts(), FIRST_BEAT_MS)
    const beating = setInterval(() => this.lasts(), BEAT_MS)
    const end = (): void => {
      clearTimeout(first)
      clearInterval(beating)
      if (this.#end === end) this.#end = null
      release()
    }
    return this.#end = end
  }
}
