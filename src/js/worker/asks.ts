// The app's functions as the engine in the worker sees them: questions to the page. Not here: the answers (`answers.ts`).

import type { Hooks } from '../engine.js'
import { blob, gzip } from '../options.js'
import type { Carried } from './answers.js'
import type { AskName, FromWorker, ToWorker } from './protocol.js'

type Told = Extract<ToWorker, { kind: 'told' | 'refused' }>

export class Asks {
  /** Those that the app gave. */
  readonly hooks: Partial<Hooks>
  readonly #post: (message: FromWorker) => void
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #asks = 0

  constructor(names: readonly AskName[], blobs: boolean, post: (message: FromWorker) => void) {
    this.#post = post
    const all: Required<Pick<Hooks, AskName>> = {
      getToken: (refresh) => this.#ask('getToken', [refresh]),
      headers: () => this.#ask('headers', []),
      push: (request, token, signal) => this.#ask('push', [request, token], signal),
      pull: (request, token, signal) => this.#ask('pull', [request, token], signal),
      turn: async () => {
        const ask = this.#asks + 1
        return await this.#ask<boolean>('turn', []) ? () => this.#post({ kind: 'turnOver', ask }) : null
      },
      turnLasts: () => this.#ask('turnLasts', []),
      fetch: async (url, { signal, ...init }) => open(await this.#ask<Carried | null>('fetch', [url, init], signal)),
    }
    this.hooks = Object.fromEntries(names.map((name) => [name, all[name]]))
    if (typeof CompressionStream === 'function') this.hooks.gzip = gzip
    if (blobs) this.hooks.blob = blob
  }

  hear(message: Told): void {
    const waiting = this.#waiting.get(message.ask)
    this.#waiting.delete(message.ask)
    if (message.kind === 'told') waiting?.resolve(message.value)
    else waiting?.reject(Object.assign(new Error(message.why.message), message.why))
  }

  #ask<T>(name: AskName, args: readonly unknown[], signal?: AbortSignal | null): Promise<T> {
    const ask = ++this.#asks
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(ask, { resolve: resolve as (value: unknown) => void, reject })
      signal?.addEventListener('abort', () => this.#post({ kind: 'abort', ask }), { once: true })
      this.#post({ kind: 'ask', ask, name, args })
    })
  }
}

/** Answers without a body may not be given one. */
function open(carried: Carried | null): Response {
  if (carried === null) return null as unknown as Response
  const { status, headers, body } = carried
  return new Response(status === 204 || status === 205 || status === 304 ? null : body, { status, headers: headers as [string, string][] })
}
