// All rows in the page: a mirror per collection, ids that the server has replaced, and what changed since somebody asked. Not here: the rows of
// one collection (`mirror.ts`), what the worker says and who hears of it (`remote.ts`).

import type { Change } from '../engine.js'
import { Mirror, type Kind } from './mirror.js'
import { linesOf } from './packed.js'
import type { Piece, RowsNews } from './protocol.js'
import type { LocalOf } from './provisional.js'

/** One record of a collection. */
export interface Named { readonly collection: string; readonly id: string }
type Changed = { collection: string; source: Change['source']; added: string[]; updated: string[]; removed: string[]; all?: boolean; renamed?: NonNullable<Change['renamed']>; rows?: Change['rows'] }

export class Mirrors {
  readonly #mirrors = new Map<string, Mirror>()
  /** Rows that came ahead of the news that they belong to. */
  #pieces: Piece[] = []
  readonly #now = new Map<string, string>()
  readonly #first = new Map<string, string>()
  #changes: Changed[] = []
  readonly #localOf: LocalOf

  constructor(localOf: LocalOf) {
    this.#localOf = localOf
  }

  /** The mirror of a collection that something was said of. */
  known(collection: string): Mirror | undefined {
    return this.#mirrors.get(collection)
  }

  /** The mirror of a collection, made where there is none. */
  of(collection: string): Mirror {
    let mirror = this.#mirrors.get(collection)
    if (mirror === undefined) this.#mirrors.set(collection, mirror = new Mirror(this.#localOf(collection)))
    return mirror
  }

  counts(): { readonly [collection: string]: number } {
    return Object.fromEntries([...this.#mirrors].map(([name, mirror]) => [name, mirror.count]))
  }

  /** The id a record has now. */
  currentId(id: string): string {
    return this.#now.get(id) ?? id
  }

  /** The id it had first. */
  firstId(id: string): string {
    return this.#first.get(id) ?? id
  }

  /** Whether no change waits to be taken. */
  get isQuiet(): boolean {
    return this.#changes.length === 0
  }

  /** Notes a change whose rows are shown already. */
  tell(change: Changed): void {
    if (change.added.length > 0) this.#changes.push(change)
  }

  takeChanges(): Changed[] {
    const changes = this.#changes
    this.#changes = []
    return changes
  }

  /** Rows that wait until they are complete. */
  keep(piece: Piece): void {
    this.#pieces.push(piece)
  }

  /** Takes in what happened to a collection; its rows were kept before. */
  take({ collection, source, all, pieces, gone, renamed }: RowsNews): void {
    const mirror = this.of(collection)
    const taken = this.#pieces.splice(0, pieces)
    const rows = taken.flatMap(rowsOf)
    const change: Changed = { collection, source, added: [], updated: [], removed: [] }
    const moved = this.#move(mirror, renamed)
    const arrived = new Set(moved.map(([, to]) => to))
    if (all) {
      mirror.replace(rows)
      change.all = true
    } else {
      for (const [id, text] of rows) {
        const kind = mirror.receive(id, text)
        if (!arrived.has(id)) note(change, id, kind)
      }
      for (const id of gone) note(change, id, mirror.receive(id, undefined))
    }
    const kept = moved.filter(([, to]) => mirror.isLive(to))
    for (const [from] of moved) change.removed.push(from)
    for (const [, to] of kept) change.added.push(to)
    if (kept.length > 0) change.renamed = kept
    if (all || change.added.length + change.updated.length + change.removed.length > 0) this.#changes.push(change)
  }

  /** Records take the ids that the server gave. Returns those that were shown under the old ones. */
  #move(mirror: Mirror, pairs: RowsNews['renamed'] = []): (readonly [string, string])[] {
    for (const pair of pairs) this.alias(pair)
    const known = pairs.filter(([from]) => mirror.knows(from))
    const shown = known.filter(([from]) => mirror.isLive(from))
    if (known.length > 0) mirror.rename(known)
    return shown
  }

  /** Does something with every record of a batch, and notes what became of them. */
  touch<T extends Named>(touched: readonly T[], work: (mirror: Mirror, id: string, touched: T) => Kind): void {
    const changes = new Map<string, Changed & { readonly ids: Set<string> }>()
    for (const one of touched) {
      const { collection } = one
      const id = this.currentId(one.id)
      const kind = work(this.of(collection), id, one)
      if (kind === null) continue
      let change = changes.get(collection)
      // A record that changes twice is told in two changes, which the session joins.
      if (change === undefined || change.ids.has(id)) {
        changes.set(collection, change = { collection, source: 'local', added: [], updated: [], removed: [], ids: new Set() })
        this.#changes.push(change)
      }
      change.ids.add(id)
      change[kind].push(id)
    }
  }

  /** A record has another id now. */
  alias([from, to]: readonly [string, string]): void {
    this.#now.set(from, to)
    this.#first.set(to, from)
  }
}

function rowsOf({ ids, texts }: Piece): (readonly [string, string])[] {
  const lines = linesOf(texts)
  return ids.split('\n').map((id, at) => [id, lines[at] ?? ''] as const)
}

function note(change: Changed, id: string, kind: Kind): void {
  if (kind !== null) change[kind].push(id)
}
