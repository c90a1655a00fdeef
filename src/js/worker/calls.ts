// Calls to the worker that wait for their answers.

import type { HomingError } from '../errors.js'

export class Calls {
  #last = 0
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: HomingError): void }>()

  /** A new one: what names it, and what comes of it. */
  make<T>(): { readonly call: number; readonly answer: Promise<T> } {
    const call = ++this.#last
    const answer = new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve: resolve as (value: unknown) => void, reject })
    })
    return { call, answer }
  }

  resolve(call: number, value: unknown): void {
    this.#waiting.get(call)?.resolve(value)
    this.#waiting.delete(call)
  }

  reject(call: number, error: HomingError): void {
    this.#waiting.get(call)?.reject(error)
    this.#waiting.delete(call)
  }

  /** Nobody answers any more. */
  end(error: HomingError): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
