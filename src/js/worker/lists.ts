// Lists of which only what changed crosses: the queue and its reasons, the conflicts, where records stand. Both ends, so that they cannot drift apart. Pure.

import { isReserved, step } from '../values.js'
import type { ListNews, Listed, WholeList } from './protocol.js'

const UTF8 = new TextDecoder()

/** The list in the page. */
export class MirroredList {
  readonly #texts = new Map<string, string>()
  readonly #patches = new Map<string, string>()
  #whole: string | null = '[]'
  /** A whole list that nobody has looked at. */
  #unread: WholeList | null = null

  takeWhole(list: WholeList): void {
    this.#texts.clear()
    this.#patches.clear()
    this.#unread = list
    this.#whole = null
  }

  take({ anew, gone, put }: ListNews): void {
    if (!anew) this.#takeApart()
    this.#unread = null
    if (anew) {
      this.#texts.clear()
      this.#patches.clear()
    }
    for (const id of gone) {
      this.#texts.delete(id)
      this.#patches.delete(id)
    }
    for (const { id, text, patch } of put) {
      this.#texts.set(id, text)
      if (patch === undefined) this.#patches.delete(id)
      else this.#patches.set(id, patch)
    }
    this.#whole = null
  }

  /** A JSON array; the same text until something changed. */
  get text(): string {
    return this.#whole ??= this.#unread === null ? `[${[...this.#texts.values()].join()}]` : UTF8.decode(this.#unread.whole)
  }

  one(id: string): string | undefined {
    this.#takeApart()
    return this.#texts.get(id)
  }

  patch(id: string): string | undefined {
    this.#takeApart()
    return this.#patches.get(id)
  }

  #takeApart(): void {
    const list = this.#unread
    if (list === null) return
    for (const one of JSON.parse(this.text) as { readonly id: string }[]) this.#texts.set(one.id, JSON.stringify(one))
    if (list.patches !== undefined) {
      for (const [id, patch] of Object.entries(JSON.parse(UTF8.decode(list.patches)) as object)) this.#patches.set(id, JSON.stringify(patch))
    }
    this.#unread = null
  }
}

/** What the page was told of the list, in the worker. */
export class ToldList {
  /** Null: something else. */
  #told: Map<string, string> | null = new Map()

  /** The page was told the whole of it. */
  toldWhole(): void {
    this.#told = null
  }

  /** These are in the list now, or other ones; what became of the rest is told later. */
  more(put: readonly Listed[]): ListNews | null {
    for (const { id, text } of put) this.#told?.set(id, text)
    return put.length > 0 ? { anew: false, gone: [], put } : null
  }

  /** What to tell of the list as it is now; null: nothing. */
  news<T>(list: readonly T[], idOf: (one: T) => string, patchOf: (one: T) => string | undefined = () => undefined): ListNews | null {
    const now = new Map(list.map((one) => [idOf(one), JSON.stringify(one)]))
    const told = this.#told ?? new Map<string, string>()
    const gone = [...told.keys()].filter((id) => !now.has(id))
    const kept = [...told.keys()].filter((id) => now.has(id))
    // What the page has keeps its place, and the rest comes behind: where the order is another one it begins anew.
    let at = 0
    const anew = this.#told === null || (kept.length > 0 && [...now.keys()].slice(0, kept.length).some((id) => id !== kept[at++]))
    const put: Listed[] = []
    for (const one of list) {
      const id = idOf(one)
      const text = now.get(id) ?? ''
      if (anew || told.get(id) !== text) put.push({ id, text, patch: patchOf(one) })
    }
    this.#told = now
    return anew || gone.length + put.length > 0 ? { anew, gone: anew ? [] : gone, put } : null
  }
}

/** The same in parts that the page takes in without anybody noticing. */
export function inParts({ anew, gone, put }: ListNews, most: number): ListNews[] {
  const parts: ListNews[] = [{ anew, gone, put: put.slice(0, most) }]
  for (let at = most; at < put.length; at += most) parts.push({ anew: false, gone: [], put: put.slice(at, at + most) })
  return parts
}

/** The patch of a mutation that creates: everything is added. Tells the same as `src/core/patch.rs`. */
export function asCreated(text: string): string | undefined {
  const { op, record } = JSON.parse(text) as { op: string; record: { [name: string]: unknown } | null }
  if (op !== 'create' || record === null) return undefined
  const shown = Object.entries(record).filter(([name]) => name === 'id' || !isReserved(name))
  return JSON.stringify(shown.map(([name, value]) => ({ op: 'add', path: step(name), value })))
}
