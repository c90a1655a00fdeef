// Following something: listeners that never stop each other, and the `subscribe` half of every observable. Not here: when to
// tell them (`session.ts` does, in a microtask) and what a snapshot is.

import { reportCallbackError } from './errors.js'

/** The listeners of one observable. */
export class Listeners<C> {
  readonly #entries = new Set<{ readonly listener: (change: C) => void }>()

  /** How many there are. */
  get size(): number {
    return this.#entries.size
  }

  /** Adds one; the result, or the signal, takes it away again. The same function may be added twice. */
  add(listener: (change: C) => void, signal?: AbortSignal): () => void {
    if (signal?.aborted) return () => {}
    const entry = { listener }
    this.#entries.add(entry)
    const remove = (): void => {
      this.#entries.delete(entry)
      signal?.removeEventListener('abort', remove)
    }
    signal?.addEventListener('abort', remove)
    return remove
  }

  /** Tells all that were there when it began and still are. */
  emit(change: C): void {
    for (const entry of [...this.#entries]) {
      if (!this.#entries.has(entry)) continue
      try {
        entry.listener(change)
      } catch (error) {
        reportCallbackError(error)
      }
    }
  }
}

/** An observable over a function that reads the current snapshot. */
export class Source<T, C = void> {
  readonly listeners = new Listeners<C>()
  readonly #read: () => T
  readonly #server: T

  constructor(read: () => T, server: T) {
    this.#read = read
    this.#server = server
  }

  subscribe = (listener: (change: C) => void, options?: { signal?: AbortSignal }): (() => void) => this.listeners.add(listener, options?.signal)
  getSnapshot = (): T => this.#read()
  getServerSnapshot = (): T => this.#server
}
