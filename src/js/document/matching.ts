// Which row of a tree is which stored row: by id, rows without one by their content, equal ids one by one. Pure. Not here:
// what is done with the result (`save.ts`, `refresh.ts`).

import type { AnyRow } from '../query.js'
import { idProblem } from '../validate.js'
import { ROW_PREFIX, SINGLETON, apart, contentKey, sameShared, type Members } from '../values.js'

/** The rows of one collection as a page has seen them. */
export class Seen {
  readonly rows: Map<string, AnyRow>
  /** The list they came from, while they are exactly that. */
  snapshot: readonly AnyRow[] | null
  /** Rows of the tree that met another row under their id and were archived: id to text, so that each is archived once. */
  readonly offered = new Map<string, string>()
  #index: { readonly nameless: readonly string[]; readonly aliases: ReadonlyMap<string, readonly string[]> } | null = null

  constructor(snapshot: readonly AnyRow[] = []) {
    this.snapshot = snapshot
    this.rows = new Map(snapshot.map((row) => [row.id, row]))
  }

  set(id: string, row: AnyRow): void {
    this.snapshot = null
    if (listing(id, this.rows.get(id)) !== listing(id, row)) this.#index = null
    this.rows.set(id, row)
  }

  delete(id: string): void {
    this.snapshot = null
    if (listing(id, this.rows.get(id)) !== NOWHERE) this.#index = null
    this.rows.delete(id)
  }

  /** The rows that a tree shows without an id, and those it shows under another id than they are stored under. */
  index(): { readonly nameless: readonly string[]; readonly aliases: ReadonlyMap<string, readonly string[]> } {
    if (this.#index !== null) return this.#index
    const nameless: string[] = []
    const aliases = new Map<string, string[]>()
    for (const [id, row] of this.rows) {
      if (!isRenamed(row)) {
        if (listing(id, row) === NAMELESS) nameless.push(id)
        continue
      }
      const key = keyOf(row['_sourceId'])
      const list = aliases.get(key)
      if (list === undefined) aliases.set(key, [id])
      else list.push(id)
    }
    return this.#index = { nameless, aliases }
  }
}

const NOWHERE = ''
const NAMELESS = 'nameless'

/** Where the index of `Seen` has a row: most rows nowhere, so that most saves leave it as it is. */
function listing(id: string, row: AnyRow | undefined): string {
  if (row === undefined) return NOWHERE
  if (isRenamed(row)) return `as ${keyOf(row['_sourceId'])}`
  return isNameless(id) ? NAMELESS : NOWHERE
}

/** Ids that a tree does not show. A singleton whose name others use for rows is a row among them. */
function isNameless(id: string): boolean {
  return id.startsWith(ROW_PREFIX) || id === SINGLETON
}

/** The stored ids of the rows of a tree, undefined for new ones. */
export interface Matches { readonly ids: (string | undefined)[]; readonly used: Set<string> }

/** Whether a row is shown under another id than it is stored under. */
export function isRenamed(row: Members): boolean {
  return row['_sourceId'] !== undefined
}

/** The id that a tree shows for a stored row; undefined for none. */
export function shownId(row: AnyRow): unknown {
  if (isRenamed(row)) return row['_sourceId']
  return isNameless(row.id) ? undefined : row.id
}

/** How a row of a tree is stored: under its id when that can be one, else renamed. `id` undefined: it needs one of ours. */
export function storedAs(row: Members): { readonly id: string | undefined; readonly sourceId: unknown } {
  const { id } = row
  if (id === undefined) return { id: undefined, sourceId: undefined }
  if (typeof id === 'number' && Number.isFinite(id)) return { id: String(id), sourceId: id }
  if (typeof id === 'string' && id.startsWith(ROW_PREFIX)) return { id: undefined, sourceId: undefined }
  if (idProblem(id) !== null || (id as string).startsWith('$')) return { id: undefined, sourceId: id }
  return { id: id as string, sourceId: undefined }
}

/** Texts and numbers are different ids. */
export function keyOf(id: unknown): string {
  return typeof id === 'string' ? id : `\u0000${JSON.stringify(id) ?? ''}`
}

/**
 * Finds the stored row of every row of a tree. Unchanged rows, in the order they were, cost one comparison each.
 *
 * @param local members that a row may differ in and still be the same: what never leaves the device
 */
export function matchRows(tree: readonly Members[], seen: Seen, local: readonly string[] = []): Matches {
  const ids = new Array<string | undefined>(tree.length)
  const used = new Set<string>()
  const { nameless, aliases } = seen.index()
  const groups = new Map<string, number[]>()
  const unnamed: number[] = []
  for (let at = 0; at < tree.length; at++) {
    const id = tree[at]?.['id']
    if (id === undefined) {
      unnamed.push(at)
      continue
    }
    if (aliases.size === 0 && typeof id !== 'string') continue
    const key = keyOf(id)
    if (aliases.has(key)) group(groups, key, at)
    else if (typeof id === 'string' && isUnderItsId(seen.rows.get(id))) {
      if (used.has(id)) group(groups, key, at)
      else {
        used.add(id)
        ids[at] = id
      }
    }
  }
  for (const [key, places] of groups) {
    const first = ids.indexOf(key)
    if (first >= 0 && tree[first]?.['id'] === key) places.unshift(first)
    const candidates = [...(isUnderItsId(seen.rows.get(key)) ? [key] : []), ...aliases.get(key) ?? []]
    matchGroup(tree, seen, places, candidates, ids, used, local)
  }
  matchUnnamed(tree, seen, unnamed, nameless, ids, used, local)
  return { ids, used }
}

/** Whether a tree shows a row under the id it is stored under: the text '7' is not the number 7 that is stored as '7'. */
function isUnderItsId(row: AnyRow | undefined): boolean {
  return row !== undefined && !isRenamed(row)
}

function group(groups: Map<string, number[]>, key: string, at: number): void {
  const list = groups.get(key)
  if (list === undefined) groups.set(key, [at])
  else list.push(at)
}

/** Rows that share an id: equal contents find each other first, the others go by order. */
function matchGroup(tree: readonly Members[], seen: Seen, places: readonly number[], candidates: readonly string[], ids: (string | undefined)[], used: Set<string>, local: readonly string[]): void {
  const free = new Set(candidates)
  for (const at of places) ids[at] = undefined
  for (const id of candidates) used.delete(id)
  const take = (at: number, id: string | undefined): void => {
    if (id === undefined) return
    ids[at] = id
    used.add(id)
    free.delete(id)
  }
  for (const at of places) take(at, [...free].find((id) => holds(seen, id, tree[at])))
  if (local.length > 0) for (const at of places) if (ids[at] === undefined) take(at, [...free].find((id) => holds(seen, id, tree[at], local)))
  for (const at of places) if (ids[at] === undefined) take(at, [...free][0])
}

/** Rows without an id are their content; equal ones are counted. */
function matchUnnamed(tree: readonly Members[], seen: Seen, places: readonly number[], nameless: readonly string[], ids: (string | undefined)[], used: Set<string>, local: readonly string[]): void {
  let next = 0
  const moved: number[] = []
  for (const at of places) {
    const id = nameless[next]
    if (id === undefined || !holds(seen, id, tree[at])) {
      moved.push(at)
      continue
    }
    next++
    ids[at] = id
    used.add(id)
  }
  const left = nameless.slice(next)
  matchByContent(tree, seen, moved, left, ids, used, [])
  if (local.length > 0) matchByContent(tree, seen, moved.filter((at) => ids[at] === undefined), left.filter((id) => !used.has(id)), ids, used, local)
}

function matchByContent(tree: readonly Members[], seen: Seen, places: readonly number[], nameless: readonly string[], ids: (string | undefined)[], used: Set<string>, local: readonly string[]): void {
  if (places.length === 0 || nameless.length === 0) return
  const byContent = new Map<string, string[]>()
  for (const id of nameless) {
    const row = seen.rows.get(id)
    if (row === undefined) continue
    const key = contentKey(apart(row, local)[0])
    const list = byContent.get(key)
    if (list === undefined) byContent.set(key, [id])
    else list.push(id)
  }
  for (const at of places) {
    const row = tree[at]
    const id = row && byContent.get(contentKey(apart(row, local)[0]))?.shift()
    if (id === undefined) continue
    ids[at] = id
    used.add(id)
  }
}

function holds(seen: Seen, id: string, row: Members | undefined, local: readonly string[] = []): boolean {
  const stored = seen.rows.get(id)
  return stored !== undefined && row !== undefined && sameShared(row, stored, local)
}
