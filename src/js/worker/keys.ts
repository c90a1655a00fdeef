// What the page remembers of writes under an idempotency key: enough to show one that comes again as the first. Whatever is
// forgotten here the worker still knows, and says so. Pure.

/** As many as the engine remembers of what is settled (`REMEMBERED` in `src/core/replica/mod.rs`). */
export const REMEMBERED = 1000

/** The last values by key. */
export class Keys<V> {
  readonly #values = new Map<string, V>()

  get(key: string): V | undefined {
    return this.#values.get(key)
  }

  set(key: string, value: V): void {
    this.#values.set(key, value)
    const [oldest] = this.#values.keys()
    if (this.#values.size > REMEMBERED && oldest !== undefined) this.#values.delete(oldest)
  }

  /** Replaces what is known; null: nothing came of it, and its key is free again. */
  review(now: (value: V) => V | null): void {
    for (const [key, value] of this.#values) {
      const known = now(value)
      if (known === null) this.#values.delete(key)
      else if (known !== value) this.#values.set(key, known)
    }
  }
}
