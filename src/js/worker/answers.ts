// The app's functions, asked for by the engine in the worker: they run in the page, signals included.

import type { Hooks } from '../engine.js'
import type { AskName, Failure, ToWorker } from './protocol.js'

/** A request as the worker describes it: no signal, that crosses by itself. */
type Init = Omit<RequestInit, 'signal'>
/** A response as it crosses. */
export interface Carried { readonly status: number; readonly headers: readonly (readonly [string, string])[]; readonly body: ArrayBuffer }

export class Answers {
  readonly #hooks: Hooks
  readonly #send: (message: ToWorker) => void
  /** Turns to send that are not over; by what asked for them. */
  readonly #turns = new Map<number, () => void>()
  readonly #running = new Map<number, AbortController>()

  constructor(hooks: Hooks, send: (message: ToWorker) => void) {
    this.#hooks = hooks
    this.#send = send
  }

  answer(ask: number, name: AskName, args: readonly unknown[]): void {
    const controller = new AbortController()
    this.#running.set(ask, controller)
    this.#run(ask, name, args, controller.signal)
      .then((value) => this.#send({ kind: 'told', ask, value }), (error: unknown) => this.#send({ kind: 'refused', ask, why: describe(error) }))
      .finally(() => this.#running.delete(ask))
  }

  /** The engine waits no longer. */
  abort(ask: number): void {
    this.#running.get(ask)?.abort()
  }

  /** The engine has sent what it had. */
  turnOver(ask: number): void {
    this.#turns.get(ask)?.()
    this.#turns.delete(ask)
  }

  end(): void {
    for (const over of this.#turns.values()) over()
    this.#turns.clear()
    for (const controller of this.#running.values()) controller.abort()
  }

  async #run(ask: number, name: AskName, args: readonly unknown[], signal: AbortSignal): Promise<unknown> {
    const { getToken, headers, push, pull, fetch, turn, turnLasts } = this.#hooks
    switch (name) {
      case 'getToken': {
        const token: unknown = await getToken?.(args[0] === true)
        return typeof token === 'string' ? token : null
      }
      case 'headers':
        return headers?.()
      case 'push':
        return push?.(String(args[0]), args[1] as string | null, signal)
      case 'pull':
        return pull?.(String(args[0]), args[1] as string | null, signal)
      case 'turn': {
        const over = await turn?.() ?? null
        if (over !== null) this.#turns.set(ask, over)
        return over !== null
      }
      case 'turnLasts':
        return turnLasts?.()
      case 'fetch':
        return carry(await fetch(String(args[0]), { ...args[1] as Init, signal }))
    }
  }
}

/** What is no Response stays nothing: the engine calls it a bad one. */
async function carry(response: unknown): Promise<Carried | null> {
  if (!(response instanceof Response)) return null
  return { status: response.status, headers: [...response.headers], body: await response.arrayBuffer() }
}

function describe(error: unknown): Failure {
  const { message, name, status, code, retryAfterMs } = (typeof error === 'object' && error !== null ? error : { message: String(error) }) as { [name: string]: unknown }
  return {
    message: String(message ?? ''),
    ...typeof name === 'string' && { name },
    ...typeof status === 'number' && { status },
    ...typeof code === 'string' && { code },
    ...typeof retryAfterMs === 'number' && { retryAfterMs },
  }
}
