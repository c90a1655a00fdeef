// The rows of one collection in the page: what the worker said, and on top of it what was written here and not planned there yet.
// Not here: what a write makes of a row (`provisional.ts`), who is told (`session.ts`).

import { PackedRows } from './packed.js'
import type { Piece } from './protocol.js'
import { NOTHING_LOCAL, next, type Local, type Step } from './provisional.js'
import { isDead, looksSame, textOf, type Slot } from './slot.js'
import type { Members } from '../values.js'

interface Waiting { readonly seq: number; readonly step: Step; readonly at: number }
/** A record with steps on top of it. */
interface Pile { below: Slot | undefined; steps: Waiting[] }
/** The insert of many new records. */
export interface Insertion { readonly seq: number; readonly at: number }

/** The number of a row that was there when it opened, or the id of another one. */
type Place = number | string

/** What became of a record for those who look; null: nothing. */
export type Kind = 'added' | 'updated' | 'removed' | null

export class Mirror {
  /** What was there when it opened. */
  #packed = new PackedRows()
  /** What those rows are now, where that is something else. */
  readonly #changed = new Map<number, Slot>()
  /** All others, in order behind them; tombstones included. */
  #rows = new Map<string, Slot>()
  #dead = new Set<Place>()
  readonly #piles = new Map<string, Pile>()
  /** Records that are nothing but new: a pile of one step, made when something else happens to them. */
  readonly #fresh = new Map<string, Insertion>()
  readonly #local: Local

  /** @param local its members that never leave the device */
  constructor(local: Local = NOTHING_LOCAL) {
    this.#local = local
  }

  get count(): number {
    return this.#packed.size + this.#rows.size - this.#dead.size
  }

  #placeOf(id: string): Place {
    const row = this.#packed.find(id)
    return row < 0 ? id : row
  }

  #at(place: Place): Slot | undefined {
    return typeof place === 'string' ? this.#rows.get(place) : this.#changed.get(place) ?? this.#packed.text(place)
  }

  /** The version shown, or the tombstone. */
  view(id: string): Slot | undefined {
    return this.#at(this.#placeOf(id))
  }

  /** Whether there is anything under that id. */
  knows(id: string): boolean {
    return this.#isThere(this.#placeOf(id)) || this.#piles.has(id)
  }

  #isThere(place: Place): boolean {
    return typeof place === 'number' || this.#rows.has(place)
  }

  isLive(id: string): boolean {
    const place = this.#placeOf(id)
    return this.#isThere(place) && !this.#dead.has(place)
  }

  /** What the worker knows of a record with writes on their way; undefined for any other. */
  below(id: string): { readonly slot: Slot | undefined } | undefined {
    if (this.#fresh.has(id)) return { slot: undefined }
    const pile = this.#piles.get(id)
    return pile && { slot: pile.below }
  }

  live(): string[] {
    const live: string[] = []
    for (const [first, texts] of this.#packed.texts()) {
      texts.forEach((text, at) => {
        const row = first + at
        if (this.#packed.has(row) && !this.#dead.has(row)) live.push(textOf(this.#changed.get(row) ?? text))
      })
    }
    for (const [id, slot] of this.#rows) if (!this.#dead.has(id)) live.push(textOf(slot))
    return live
  }

  dead(): string[] {
    return [...this.#dead].map((place) => textOf(this.#at(place) ?? '{}'))
  }

  /** Shows a new record as it will be planned, unless one of that id is known: whether it did. */
  insert(id: string, row: Members, insertion: Insertion): boolean {
    if (this.knows(id)) return false
    this.#rows.set(id, row)
    this.#fresh.set(id, insertion)
    return true
  }

  #pileOf(id: string): Pile | undefined {
    const insertion = this.#fresh.get(id)
    if (insertion === undefined) return this.#piles.get(id)
    this.#fresh.delete(id)
    const record = this.view(id) as Members
    const pile: Pile = { below: undefined, steps: [{ ...insertion, step: { op: 'insert', record } }] }
    this.#piles.set(id, pile)
    return pile
  }

  /** Shows a write at once. */
  write(id: string, step: Step, at: number, seq: number): Kind {
    let pile = this.#pileOf(id)
    if (pile === undefined) this.#piles.set(id, pile = { below: this.view(id), steps: [] })
    pile.steps.push({ seq, step, at })
    return this.#show(id, next(step, id, this.view(id), at, this.#local))
  }

  /**
   * The worker has planned a write, or refused it: nothing of it lies on top any more. `exact`: it became what is shown.
   *
   * @returns whether what is shown is all there is: the record need not be settled
   */
  drop(id: string, seq: number, exact: boolean): boolean {
    if (exact && this.#fresh.get(id)?.seq === seq) return this.#fresh.delete(id)
    const pile = this.#pileOf(id)
    if (pile === undefined) return true
    const steps = pile.steps.filter((one) => one.seq !== seq)
    if (exact) pile.below = steps.length === 0 ? this.view(id) : this.#onTop({ ...pile, steps: pile.steps.filter((one) => one.seq === seq) }, id)
    pile.steps = steps
    return false
  }

  /** Shows a record without what was dropped, once everything that came with it has been received. */
  settle(id: string): Kind {
    const pile = this.#pileOf(id)
    if (pile === undefined) return null
    if (pile.steps.length === 0) this.#piles.delete(id)
    return this.#show(id, this.#onTop(pile, id))
  }

  /** The worker's version of a record. */
  receive(id: string, slot: Slot | undefined): Kind {
    const pile = this.#pileOf(id)
    if (pile === undefined) return this.#show(id, slot)
    pile.below = slot
    return this.#show(id, this.#onTop(pile, id))
  }

  /** Rows of the first reading: nobody looks yet. */
  fill(piece: Piece): void {
    const first = this.#packed.fill(piece)
    for (const at of piece.dead) this.#dead.add(first + at)
  }

  /** All there is, instead of what was; what was written here stays on top. */
  replace(rows: Iterable<readonly [string, string]>): void {
    for (const id of [...this.#fresh.keys()]) this.#pileOf(id)
    this.#rows = new Map()
    this.#packed = new PackedRows()
    this.#changed.clear()
    this.#dead = new Set()
    for (const [id, text] of rows) {
      this.#rows.set(id, text)
      if (isDead(text)) this.#dead.add(id)
    }
    for (const [id, pile] of this.#piles) {
      pile.below = this.view(id)
      this.#show(id, this.#onTop(pile, id))
    }
  }

  /** The same records in the same places under other ids. */
  rename(pairs: readonly (readonly [string, string])[]): void {
    for (const [from] of pairs) this.#pileOf(from)
    const renamed = new Map(pairs)
    const moved = pairs.map(([from]) => ({ place: this.#placeOf(from), pile: this.#piles.get(from) }))
    for (const [from, to] of pairs) {
      this.#piles.delete(from)
      if (!renamed.has(to)) this.#remove(this.#placeOf(to))
    }
    this.#rows = new Map(Array.from(this.#rows, ([id, slot]) => [renamed.get(id) ?? id, slot]))
    this.#dead = new Set(Array.from(this.#dead, (place) => (typeof place === 'string' ? renamed.get(place) ?? place : place)))
    pairs.forEach(([, to], at) => {
      const { place, pile } = moved[at] as { place: Place; pile: Pile | undefined }
      if (typeof place === 'number') this.#packed.rename(place, to)
      if (pile !== undefined) this.#piles.set(to, pile)
    })
  }

  #onTop({ below, steps }: Pile, id: string): Slot | undefined {
    return steps.reduce((slot, { step, at }) => next(step, id, slot, at, this.#local), below)
  }

  #show(id: string, slot: Slot | undefined): Kind {
    const before = this.view(id)
    if (before === slot) return null
    const was = this.isLive(id)
    const same = looksSame(before, slot)
    this.#set(id, slot)
    if (same) return null
    const is = this.isLive(id)
    return was ? is ? 'updated' : 'removed' : is ? 'added' : null
  }

  #set(id: string, slot: Slot | undefined): void {
    const place = this.#placeOf(id)
    if (slot === undefined) return this.#remove(place)
    if (typeof place === 'number') this.#changed.set(place, slot)
    else this.#rows.set(place, slot)
    if (isDead(slot)) this.#dead.add(place)
    else this.#dead.delete(place)
  }

  #remove(place: Place): void {
    this.#dead.delete(place)
    if (typeof place === 'string') this.#rows.delete(place)
    else {
      this.#changed.delete(place)
      this.#packed.delete(place)
    }
  }
}
