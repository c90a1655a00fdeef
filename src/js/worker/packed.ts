// The rows of a collection as they came when the database was opened: bytes, found by numbers. Their ids as strings would be looked at
// in every major collection of the page's garbage: the browser keeps what is looked up in a Map unique, in one table. Not here: what has
// become of the rows since (`mirror.ts`).

import { PIECE_ROWS, type Piece } from './protocol.js'

/** Rows of a piece are counted with so many bits. */
const ROW_BITS = Math.ceil(Math.log2(PIECE_ROWS))
const ROW_MASK = 2 ** ROW_BITS - 1
const SMALLEST = 64
const LINE_END = 10
const UTF8 = new TextDecoder()

interface Packed extends Pick<Piece, 'ids' | 'texts' | 'ends'> {
  /** Where each id begins. */
  readonly starts: Uint32Array
  readonly hashes: Uint32Array
}

/** Rows are named by number; they keep it, whatever their id. */
export class PackedRows {
  readonly #pieces: Packed[] = []
  /** Number of a row plus one, near the place that its hash says; 0: none. */
  #table = new Uint32Array(SMALLEST)
  #used = 0
  /** Rows that have another id now; null: gone. */
  readonly #renamed = new Map<number, string | null>()
  #size = 0
  /** So nobody can choose ids that all fall together. */
  readonly #seed: number
  readonly #factor: number

  constructor() {
    const [seed = 0, factor = 0] = crypto.getRandomValues(new Uint32Array(2))
    this.#seed = seed | 0
    this.#factor = factor | 1
  }

  /** How many there are that are not gone. */
  get size(): number {
    return this.#size
  }

  /** Takes in a piece, whose rows are new; answers the number of the first: the others follow. */
  fill({ ids, texts, ends }: Piece): number {
    const count = ends.length
    const piece = { ids, texts, ends, starts: new Uint32Array(count), hashes: new Uint32Array(count) }
    const first = (this.#pieces.push(piece) - 1) << ROW_BITS
    this.#size += count
    let at = 0
    for (let row = 0; row < count; row++) {
      piece.starts[row] = at
      const end = ids.indexOf('\n', at)
      const hash = this.#hashOf(ids, at, end < 0 ? ids.length : end)
      at = end + 1
      piece.hashes[row] = hash
      this.#note(first + row, hash)
    }
    return first
  }

  /** The row of that id; -1: there is none. */
  find(id: string): number {
    if (this.#size === 0) return -1
    const hash = this.#hashOf(id)
    const mask = this.#table.length - 1
    for (let place = hash & mask; ; place = place + 1 & mask) {
      const row = (this.#table[place] as number) - 1
      if (row < 0 || this.#is(row, id, hash)) return row
    }
  }

  #is(row: number, id: string, hash: number): boolean {
    const renamed = this.#renamed.size > 0 ? this.#renamed.get(row) : undefined
    if (renamed !== undefined) return renamed === id
    const { ids, starts, hashes } = this.#pieces[row >>> ROW_BITS] as Packed
    if (hashes[row & ROW_MASK] !== hash >>> 0) return false
    const start = starts[row & ROW_MASK] as number
    const end = start + id.length
    return ids.startsWith(id, start) && (end === ids.length || ids.charCodeAt(end) === LINE_END)
  }

  /** Whether it is there: by number. */
  has(row: number): boolean {
    return this.#renamed.get(row) !== null
  }

  /** As it came. */
  text(row: number): string {
    const { texts, ends } = this.#pieces[row >>> ROW_BITS] as Packed
    const at = row & ROW_MASK
    return UTF8.decode(texts.subarray(at === 0 ? 0 : ends[at - 1], (ends[at] as number) - 1))
  }

  /** The texts of all of them in order, piece by piece, with the number of the first; also of those that are gone. */
  *texts(): Generator<readonly [first: number, texts: readonly string[]]> {
    for (const [at, { texts }] of this.#pieces.entries()) yield [at << ROW_BITS, linesOf(texts)]
  }

  delete(row: number): void {
    this.#renamed.set(row, null)
    this.#size--
  }

  rename(row: number, id: string): void {
    this.#renamed.set(row, id)
    this.#note(row, this.#hashOf(id))
  }

  #hashOf(text: string, from = 0, to = text.length): number {
    const factor = this.#factor
    let hash = this.#seed
    for (let at = from; at < to; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), factor)
      hash ^= hash >>> 15
    }
    return hash
  }

  #note(row: number, hash: number): void {
    if (++this.#used * 2 > this.#table.length) this.#grow()
    this.#place(row, hash)
  }

  #place(row: number, hash: number): void {
    const mask = this.#table.length - 1
    let place = hash & mask
    while (this.#table[place] !== 0) place = place + 1 & mask
    this.#table[place] = row + 1
  }

  /** Twice the room; names that nobody has any more are forgotten. */
  #grow(): void {
    const rows = this.#table.filter((one) => one > 0)
    this.#table = new Uint32Array(this.#table.length * 2)
    const placed = new Set<number>()
    this.#used = 0
    for (const one of rows) {
      const row = one - 1
      const renamed = this.#renamed.get(row)
      if (renamed === null || (renamed !== undefined && placed.has(row))) continue
      if (renamed !== undefined) placed.add(row)
      this.#place(row, renamed === undefined ? this.#pieces[row >>> ROW_BITS]?.hashes[row & ROW_MASK] as number : this.#hashOf(renamed))
      this.#used++
    }
  }
}

/** The texts of a piece. */
export function linesOf(texts: Uint8Array): string[] {
  const lines = UTF8.decode(texts).split('\n')
  lines.pop()
  return lines
}
