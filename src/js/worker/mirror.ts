// The rows of one collection in the page: what the worker said, and on top of it what was written here and not planned there yet.
// Not here: what a write makes of a row (`provisional.ts`), who is told (`session.ts`).

import { PIECE_ROWS, type Piece } from './protocol.js'
import { NOTHING_LOCAL, next, type Local, type Step } from './provisional.js'
import { isDead, looksSame, textOf, type Slot } from './slot.js'
import type { Members } from '../values.js'

/** Rows of a piece are counted with so many bits. */
const ROW_BITS = Math.ceil(Math.log2(PIECE_ROWS))
const ROW_MASK = 2 ** ROW_BITS - 1
const UTF8 = new TextDecoder()
type Rows = Pick<Piece, 'texts' | 'ends'>

interface Waiting { readonly seq: number; readonly step: Step; readonly at: number }
/** A record with steps on top of it. */
interface Pile { below: Slot | undefined; steps: Waiting[] }
/** The insert of many new records. */
export interface Insertion { readonly seq: number; readonly at: number }

/** What became of a record for those who look; null: nothing. */
export type Kind = 'added' | 'updated' | 'removed' | null

export class Mirror {
  /** In order, tombstones included. A number: of a piece, and of a row in it. */
  #rows = new Map<string, Slot | number>()
  /** What was there when it opened: bytes are nothing that the collector has to look at or move. */
  readonly #pieces: Rows[] = []
  #dead = new Set<string>()
  readonly #piles = new Map<string, Pile>()
  /** Records that are nothing but new: a pile of one step, made when something else happens to them. */
  readonly #fresh = new Map<string, Insertion>()
  readonly #local: Local

  /** @param local its members that never leave the device */
  constructor(local: Local = NOTHING_LOCAL) {
    this.#local = local
  }

  get count(): number {
    return this.#rows.size - this.#dead.size
  }

  /** The version shown, or the tombstone. */
  view(id: string): Slot | undefined {
    return this.#slot(this.#rows.get(id))
  }

  #slot(found: Slot | number | undefined): Slot | undefined {
    if (typeof found !== 'number') return found
    const { texts, ends } = this.#pieces[found >>> ROW_BITS] as Rows
    const row = found & ROW_MASK
    return UTF8.decode(texts.subarray(row === 0 ? 0 : ends[row - 1], (ends[row] as number) - 1))
  }

  /** Whether there is anything under that id. */
  knows(id: string): boolean {
    return this.#rows.has(id) || this.#piles.has(id)
  }

  isLive(id: string): boolean {
    return this.#rows.has(id) && !this.#dead.has(id)
  }

  /** What the worker knows of a record with writes on their way; undefined for any other. */
  below(id: string): { readonly slot: Slot | undefined } | undefined {
    if (this.#fresh.has(id)) return { slot: undefined }
    const pile = this.#piles.get(id)
    return pile && { slot: pile.below }
  }

  live(): string[] {
    const texts: string[] = []
    const pieces: string[][] = []
    for (const [id, found] of this.#rows) {
      if (this.#dead.has(id)) continue
      if (typeof found === 'number') {
        const piece = found >>> ROW_BITS
        texts.push((pieces[piece] ??= linesOf(this.#pieces[piece]?.texts))[found & ROW_MASK] as string)
      } else texts.push(textOf(found))
    }
    return texts
  }

  dead(): string[] {
    return [...this.#dead].map((id) => textOf(this.view(id) ?? '{}'))
  }

  /** Shows a new record as it will be planned, unless one of that id is known: whether it did. */
  insert(id: string, row: Members, insertion: Insertion): boolean {
    if (this.#rows.has(id) || this.#piles.has(id)) return false
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
  fill({ ids, texts, ends, dead }: Piece): void {
    const first = (this.#pieces.push({ texts, ends }) - 1) << ROW_BITS
    const names = ids.split('\n')
    names.forEach((id, row) => this.#rows.set(id, first + row))
    for (const row of dead) this.#dead.add(names[row] as string)
  }

  /** All there is, instead of what was; what was written here stays on top. */
  replace(rows: Iterable<readonly [string, string]>): void {
    for (const id of [...this.#fresh.keys()]) this.#pileOf(id)
    this.#rows = new Map()
    this.#pieces.length = 0
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
    const arrived = new Set(renamed.values())
    const rows = new Map<string, Slot | number>()
    for (const [id, found] of this.#rows) {
      const to = renamed.get(id)
      if (to !== undefined) rows.set(to, found)
      else if (!arrived.has(id)) rows.set(id, found)
    }
    this.#rows = rows
    for (const [from, to] of pairs) {
      if (this.#dead.delete(from)) this.#dead.add(to)
      const pile = this.#piles.get(from)
      this.#piles.delete(from)
      if (pile !== undefined) this.#piles.set(to, pile)
    }
  }

  #onTop({ below, steps }: Pile, id: string): Slot | undefined {
    return steps.reduce((slot, { step, at }) => next(step, id, slot, at, this.#local), below)
  }

  #show(id: string, slot: Slot | undefined): Kind {
    const before = this.view(id)
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

/** The texts of a piece. */
export function linesOf(texts: Uint8Array | undefined): string[] {
  return UTF8.decode(texts).split('\n')
}
