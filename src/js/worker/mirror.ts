// The rows of one collection in the page: what the worker said, and on top of it what was written here and not planned there yet.
// Not here: what a write makes of a row (`provisional.ts`), who is told (`session.ts`).

import { next, type Step } from './provisional.js'
import { isDead, looksSame, textOf, type Slot } from './slot.js'

interface Waiting { readonly seq: number; readonly step: Step; readonly at: number }
/** A record with steps on top of it. */
interface Pile { below: Slot | undefined; steps: Waiting[] }

/** What became of a record for those who look; null: nothing. */
export type Kind = 'added' | 'updated' | 'removed' | null

export class Mirror {
  /** In order, tombstones included. */
  #rows = new Map<string, Slot>()
  #dead = new Set<string>()
  readonly #piles = new Map<string, Pile>()

  get count(): number {
    return this.#rows.size - this.#dead.size
  }

  /** The version shown, or the tombstone. */
  view(id: string): Slot | undefined {
    return this.#rows.get(id)
  }

  isLive(id: string): boolean {
    return this.#rows.has(id) && !this.#dead.has(id)
  }

  /** What the worker knows of a record with writes on their way; undefined for any other. */
  below(id: string): { readonly slot: Slot | undefined } | undefined {
    const pile = this.#piles.get(id)
    return pile && { slot: pile.below }
  }

  live(): string[] {
    const texts: string[] = []
    for (const [id, slot] of this.#rows) if (!this.#dead.has(id)) texts.push(textOf(slot))
    return texts
  }

  dead(): string[] {
    return [...this.#dead].map((id) => textOf(this.#rows.get(id) ?? '{}'))
  }

  /** Shows a write at once. */
  write(id: string, step: Step, at: number, seq: number): Kind {
    let pile = this.#piles.get(id)
    if (pile === undefined) this.#piles.set(id, pile = { below: this.#rows.get(id), steps: [] })
    pile.steps.push({ seq, step, at })
    return this.#show(id, next(step, id, this.#rows.get(id), at))
  }

  /** The worker has planned a write, or refused it: nothing of it lies on top any more. `exact`: it became what is shown. */
  drop(id: string, seq: number, exact: boolean): void {
    const pile = this.#piles.get(id)
    if (pile === undefined) return
    const steps = pile.steps.filter((one) => one.seq !== seq)
    if (exact) pile.below = steps.length === 0 ? this.#rows.get(id) : onTop({ ...pile, steps: pile.steps.filter((one) => one.seq === seq) }, id)
    pile.steps = steps
  }

  /** Shows a record without what was dropped, once everything that came with it has been received. */
  settle(id: string): Kind {
    const pile = this.#piles.get(id)
    if (pile === undefined) return null
    if (pile.steps.length === 0) this.#piles.delete(id)
    return this.#show(id, onTop(pile, id))
  }

  /** The worker's version of a record. */
  receive(id: string, slot: Slot | undefined): Kind {
    const pile = this.#piles.get(id)
    if (pile === undefined) return this.#show(id, slot)
    pile.below = slot
    return this.#show(id, onTop(pile, id))
  }

  /** A row of the first reading: nobody looks yet. */
  fill(id: string, text: string): void {
    this.#rows.set(id, text)
    if (isDead(text)) this.#dead.add(id)
  }

  /** All there is, instead of what was; what was written here stays on top. */
  replace(rows: Iterable<readonly [string, string]>): void {
    this.#rows = new Map()
    this.#dead = new Set()
    for (const [id, text] of rows) this.fill(id, text)
    for (const [id, pile] of this.#piles) {
      pile.below = this.#rows.get(id)
      this.#show(id, onTop(pile, id))
    }
  }

  /** The same records in the same places under other ids. */
  rename(pairs: readonly (readonly [string, string])[]): void {
    const renamed = new Map(pairs)
    const arrived = new Set(renamed.values())
    const rows = new Map<string, Slot>()
    for (const [id, slot] of this.#rows) {
      const to = renamed.get(id)
      if (to !== undefined) rows.set(to, slot)
      else if (!arrived.has(id)) rows.set(id, slot)
    }
    this.#rows = rows
    for (const [from, to] of pairs) {
      if (this.#dead.delete(from)) this.#dead.add(to)
      const pile = this.#piles.get(from)
      this.#piles.delete(from)
      if (pile !== undefined) this.#piles.set(to, pile)
    }
  }

  #show(id: string, slot: Slot | undefined): Kind {
    const before = this.#rows.get(id)
    if (before === slot) return null
    const was = this.isLive(id)
    const same = looksSame(before, slot)
    if (slot === undefined) {
      this.#rows.delete(id)
      this.#dead.delete(id)
    } else {
      this.#rows.set(id, slot)
      if (isDead(slot)) this.#dead.add(id)
      else this.#dead.delete(id)
    }
    if (same) return null
    const is = this.isLive(id)
    return was ? is ? 'updated' : 'removed' : is ? 'added' : null
  }
}

function onTop({ below, steps }: Pile, id: string): Slot | undefined {
  return steps.reduce((slot, { step, at }) => next(step, id, slot, at), below)
}
