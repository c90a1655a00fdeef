// Time that stands still until it is told to pass.

interface Timer { readonly at: number; ring(): void }

/** Taken at once: a test may replace timers by fake ones. */
const task = (globalThis as { setImmediate?: (run: () => void) => void }).setImmediate ?? viaChannel

/** Ends when everything has gone on that can without time passing: all of that runs in microtasks, and they end before a task. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => task(resolve))
}

function viaChannel(run: () => void): void {
  const { port1, port2 } = new MessageChannel()
  port1.onmessage = () => {
    port1.close()
    run()
  }
  port2.postMessage(null)
}

export class Clock {
  #now: number
  /** By time, then by age. */
  readonly #timers: Timer[] = []

  constructor(start: number) {
    this.#now = start
  }

  get now(): number {
    return this.#now
  }

  sleep(ms: number): Promise<void> {
    return new Promise((ring) => {
      const at = this.#now + Math.max(0, ms)
      const later = this.#timers.findIndex((other) => other.at > at)
      this.#timers.splice(later === -1 ? this.#timers.length : later, 0, { at, ring })
    })
  }

  /** When the next timer rings. */
  get next(): number {
    return this.#timers[0]?.at ?? Infinity
  }

  /** Lets time pass; what is due rings in order, and everything it leads to happens before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await quiet()
    for (let timer = this.#timers[0]; timer !== undefined && timer.at <= until; timer = this.#timers[0]) {
      this.#timers.shift()
      this.#now = Math.max(this.#now, timer.at)
      timer.ring()
      await quiet()
    }
    // Who lets time pass beside this may be further.
    this.#now = Math.max(this.#now, until)
  }
}
