// All rows in the page: a mirror per collection, ids that the server has replaced, and what changed since somebody asked. Not here: the rows of
// one collection (`mirror.ts`), what the worker says and who hears of it (`remote.ts`).

import type { Change } from '../engine.js'
import type { Touched } from './batch.js'
import { Mirror, type Kind } from './mirror.js'
import type { RowsNews } from './protocol.js'

type Changed = { collection: string; source: Change['source']; added: string[]; updated: string[]; removed: string[]; all?: boolean; renamed?: NonNullable<Change['renamed']> }

export class Mirrors {
  readonly #mirrors = new Map<string, Mirror>()
  /** Rows that came ahead of the news that they belong to. */
  #pieces: { readonly collection: string; readonly ids: readonly string[]; readonly texts: readonly string[] }[] = []
  readonly #now = new Map<string, string>()
  readonly #first = new Map<string, string>()
  #changes: Changed[] = []

  /** The mirror of a collection that something was said of. */
  known(collection: string): Mirror | undefined {
    return this.#mirrors.get(collection)
  }

  /** The mirror of a collection, made where there is none. */
  of(collection: string): Mirror {
    let mirror = this.#mirrors.get(collection)
    if (mirror === undefined) this.#mirrors.set(collection, mirror = new Mirror())
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

  takeChanges(): Changed[] {
    const changes = this.#changes
    this.#changes = []
    return changes
  }

  /** Rows of the opening: they are there at once. */
  fill(collection: string, ids: readonly string[], texts: readonly string[]): void {
    const mirror = this.of(collection)
    ids.forEach((id, at) => mirror.fill(id, texts[at] ?? ''))
  }

  /** Rows that wait until they are complete. */
  keep(collection: string, ids: readonly string[], texts: readonly string[]): void {
    this.#pieces.push({ collection, ids, texts })
  }

  /** Takes in what happened to a collection; its rows were kept before. */
  take({ collection, source, all, pieces, gone, renamed }: RowsNews): void {
    const mirror = this.of(collection)
    const taken = this.#pieces.splice(0, pieces)
    const rows = taken.flatMap(({ ids, texts }) => ids.map((id, at) => [id, texts[at] ?? ''] as const))
    const change: Changed = { collection, source, added: [], updated: [], removed: [] }
    if (renamed !== undefined) {
      for (const [from, to] of renamed) {
        if (mirror.isLive(from)) change.removed.push(from), change.added.push(to)
        this.alias([from, to])
      }
      mirror.rename(renamed)
      change.renamed = renamed
    }
    const arrived = new Set(change.added)
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
    if (all || renamed !== undefined || change.added.length + change.updated.length + change.removed.length > 0) this.#changes.push(change)
  }

  /** Does something with every record of a batch, and notes what became of them. */
  touch(touched: readonly Touched[], work: (mirror: Mirror, id: string, touched: Touched) => Kind): void {
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

function note(change: Changed, id: string, kind: Kind): void {
  if (kind !== null) change[kind].push(id)
}
