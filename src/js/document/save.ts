// Saving a tree: a three-way diff of the tree, what the page has seen, and what is there now. A row that the page has not seen
// is never touched, an unchanged old value is never written, and a change says which version it was made from.

import { HomingError } from '../errors.js'
import { deleteOperation, importation, insertion, put, updateOperation } from '../operations.js'
import type { AnyRow } from '../query.js'
import type { Rows } from '../rows.js'
import { RESERVED, SINGLETON, isObject, sameContent, sameShared, sameValue, type Members } from '../values.js'
import { planImport, planOneImport } from './importing.js'
import { ROOT, rootContent, shapeOf, type OnePart, type RowsPart, type Shape, type Split } from './mapping.js'
import { isRenamed, matchRows, shownId, storedAs, type Seen } from './matching.js'
import { Plan, importedText, rowText, seenAs, written } from './plan.js'
import { patchOf, rebase } from './rebase.js'
import type { Baseline, Store } from './store.js'

export interface SaveOptions { readonly only?: readonly string[] | undefined; readonly deletions: boolean }

/**
 * Plans what brings the store to the tree.
 *
 * @param baseline what the page has seen; null: nothing, so the tree is an import that deletes and overwrites nothing
 */
export function planSave(store: Store, tree: Split, baseline: Baseline | null, into: Baseline, options: SaveOptions): Plan {
  const plan = new Plan(store.session)
  plan.noting(() => {
    if (baseline === null) planImport(store, tree, plan, into)
    else planDiff(store, tree, baseline, plan, options)
  })
  return plan
}

function planDiff(store: Store, tree: Split, baseline: Baseline, plan: Plan, options: SaveOptions): void {
  planRoot(store, tree, baseline.of(ROOT), plan, options.only)
  for (const part of tree.ones) planOne(store, part, baseline.of(part.name), plan)
  for (const part of tree.rows) new RowsDiff(store, part, baseline.of(part.name), plan).run(options.deletions)
}

/** The rest and the shape; the shape only grows, and forgets values that are gone. */
function planRoot(store: Store, tree: Split, seen: Seen, plan: Plan, only: readonly string[] | undefined): void {
  const before = seen.rows.get(SINGLETON)
  // With `only` the tree says nothing about the other members, so none is taken away.
  const rest = only === undefined ? tree.rest : join(withoutShape(before), tree.rest)
  const shape: { [pointer: string]: Shape[string] } = {}
  const known = shapeOf(before)
  const moved = Object.keys(tree.shape).filter((pointer) => tree.shape[pointer] !== known[pointer])
  // In the order of the tree; what it does not mention keeps its place among the others, unless the tree has put something else there.
  for (const [pointer, kind] of Object.entries(known)) {
    if (kind === 'value' && only === undefined) continue
    if (!moved.some((one) => one.startsWith(`${pointer}/`) || pointer.startsWith(`${one}/`))) shape[pointer] = kind
  }
  Object.assign(shape, tree.shape)
  if (before === undefined && store.root === undefined && Object.keys(shape).length === 0) return
  planOne(store, { name: ROOT, pointer: '', value: rootContent(rest, orderLike(shape, tree.shape)) }, seen, plan, false)
}

function withoutShape(root: AnyRow | undefined): Members {
  return Object.fromEntries(Object.entries(root ?? {}).filter(([member]) => member !== '$shape' && !RESERVED.has(member)))
}

function join(before: Members, now: Members): Members {
  const out = { ...before }
  for (const [member, value] of Object.entries(now)) {
    const there = out[member]
    out[member] = isObject(there) && isObject(value) ? join(there, value) : value
  }
  return out
}

/** The same entries, those of the tree in its order. Order alone is no change. */
function orderLike(shape: Shape, tree: Shape): Shape {
  const out: { [pointer: string]: Shape[string] } = {}
  for (const pointer of [...Object.keys(tree), ...Object.keys(shape)]) {
    const kind = shape[pointer]
    if (kind !== undefined) out[pointer] = kind
  }
  return out
}

function planOne(store: Store, { name, pointer, value }: OnePart, seen: Seen, plan: Plan, counts = true): void {
  const rows = store.session.rows(name)
  const before = seen.rows.get(SINGLETON)
  const current = rows.get(SINGLETON)
  const ownId = name === ROOT ? undefined : value['id']
  const same = (row: AnyRow): boolean => sameContent(value, row) && (name === ROOT || sameValue(ownId, row['_sourceId']))
  if (before !== undefined && same(before)) {
    if (counts) plan.unchanged++
    return
  }
  if (before === undefined && current !== undefined) return planOneImport(store, { name, pointer, value }, current, plan, seen)
  if (counts) plan[before === undefined ? 'inserted' : 'updated']++
  const sourceId = ownId === undefined ? undefined : ownId
  change(store, rows, SINGLETON, value, pointer, before, sourceId, plan, seen)
}

/** An edit of a record the page has seen, or a record under an id that only a tombstone may have. */
function change(store: Store, rows: Rows, id: string, value: Members, pointer: string, before: AnyRow | undefined, sourceId: unknown, plan: Plan, seen: Seen): void {
  const { name } = rows
  const current = rows.get(id)
  rows.readUnread(id)
  const note = (): void => {
    const row = rows.get(id)
    if (row !== undefined) plan.see(seen, id, written(value, row))
  }
  const mergesFields = before !== undefined && current !== undefined && store.policy(name, id) === 'fields' && sameValue(sourceId, before['_sourceId'])
  const text = (content: Members): string => rowText(before?.['_crdt'] === undefined ? content : { ...content, _crdt: before['_crdt'] }, pointer, id, sourceId)
  const local = store.local(name)
  if (before !== undefined && sameValue(sourceId, before['_sourceId']) && sameShared(value, before, local)) {
    // What others made of the rest meanwhile stays, and stays unseen.
    const noted = (): void => plan.see(seen, id, written(value, before))
    return current === undefined ? noted() : plan.add(name, updateOperation(name, id, patchOf(before, value)), noted)
  }
  // Which of them were changed: writing them moves no stamp, so the version that the page saw does not tell.
  const own = before && local.filter((field) => !sameValue(before[field], value[field]))
  if (!mergesFields) return plan.add(name, put(name, text(value), before, own), note)
  // Only what the app changed: fields that others changed meanwhile stay theirs.
  const mine = rebase(before, value, current)
  const joined = store.joined(name)
  if (joined.some((field) => !sameValue(before[field], value[field]))) {
    // What it counted and added is told from `_crdt`: what there was of it when the tree was made.
    for (const field of joined) mine[field] = value[field]
    return plan.add(name, put(name, text(mine), current, own), note)
  }
  const patch = patchOf(current, mine)
  if (Object.keys(patch).length === 0) note()
  else plan.add(name, updateOperation(name, id, patch, before), note)
}

/** One collection: rows found, changed, new and gone. */
class RowsDiff {
  readonly #store: Store
  readonly #part: RowsPart
  readonly #seen: Seen
  readonly #plan: Plan
  readonly #rows: Rows
  readonly #local: readonly string[]
  readonly #taken = new Set<string>()
  #deleted: ReadonlySet<string> | null = null
  readonly #inserts: { readonly text: string; readonly row: Members }[] = []
  readonly #nameless: { readonly text: string; readonly row: Members }[] = []
  readonly #imports: { readonly text: string; readonly row: Members }[] = []

  constructor(store: Store, part: RowsPart, seen: Seen, plan: Plan) {
    this.#store = store
    this.#part = part
    this.#seen = seen
    this.#plan = plan
    this.#rows = store.session.rows(part.name)
    this.#local = store.local(part.name)
  }

  run(deletions: boolean): void {
    const { rows } = this.#part
    const matches = matchRows(rows, this.#seen, this.#local)
    rows.forEach((row, at) => {
      const id = matches.ids[at]
      if (id === undefined) this.#addNew(row, at)
      else this.#compare(row, at, id)
    })
    if (deletions && matches.used.size < this.#seen.rows.size) this.#deleteMissing(matches.used)
    this.#flush()
  }

  #compare(row: Members, at: number, id: string): void {
    const before = this.#seen.rows.get(id)
    if (before === undefined) return
    if (sameContent(row, before)) {
      this.#plan.unchanged++
      return
    }
    // A fact is never changed: what was edited is another fact. What this device notes with it is no part of it.
    if (this.#appends(id) && !(this.#rows.get(id) !== undefined && sameShared(row, before, this.#local))) return this.#addFact(row, at)
    this.#plan.updated++
    const sourceId = isRenamed(before) ? before['_sourceId'] : undefined
    change(this.#store, this.#rows, id, row, this.#pointer(at), before, sourceId, this.#plan, this.#seen)
  }

  #addFact(row: Members, at: number): void {
    const { id, sourceId } = storedAs(row)
    if (id === undefined) this.#insert(this.#nameless, row, at, undefined, sourceId)
    else this.#insert(this.#inserts, row, at, this.#freeId(id), sourceId ?? id)
  }

  #addNew(row: Members, at: number): void {
    const { id, sourceId } = storedAs(row)
    if (id === undefined) return this.#insert(this.#nameless, row, at, undefined, sourceId)
    if (this.#taken.has(id) || this.#seen.rows.has(id)) return this.#insert(this.#inserts, row, at, this.#freeId(id), sourceId ?? id)
    this.#taken.add(id)
    const current = this.#rows.get(id)
    if (current === undefined) {
      if (!this.#isDeleted(id)) return this.#insert(this.#inserts, row, at, id, sourceId)
      // An import found it deleted, and the app has not touched it since.
      if (this.#seen.offered.get(id) === importedText(row, this.#pointer(at))) return void this.#plan.unchanged++
      this.#plan.inserted++
      return change(this.#store, this.#rows, id, row, this.#pointer(at), undefined, sourceId, this.#plan, this.#seen)
    }
    // Somebody else's row of that id, which the page has not seen: it stays, what differs is archived.
    const same = this.#store.same(this.#part.name, row, current) && sameValue(shownId(current), row['id'])
    this.#plan[same ? 'unchanged' : 'archived']++
    if (same) this.#plan.see(this.#seen, id, seenAs(row, current))
    if (same && sameContent(row, current)) return
    const text = importedText(row, this.#pointer(at))
    if (this.#plan.offers(this.#seen, id, text)) this.#imports.push({ text, row })
  }

  #insert(list: { text: string; row: Members }[], row: Members, at: number, id: string | undefined, sourceId: unknown): void {
    this.#plan.inserted++
    list.push({ text: rowText(row, this.#pointer(at), id, sourceId), row })
  }

  #deleteMissing(used: ReadonlySet<string>): void {
    for (const [id, before] of [...this.#seen.rows]) {
      if (used.has(id) || this.#appends(id)) continue
      const current = this.#rows.get(id)
      // Gone already; or somebody has edited it meanwhile, and nobody deletes what he has not seen: a refresh brings it back.
      if (current === undefined || !this.#store.same(this.#part.name, before, current)) {
        this.#plan.see(this.#seen, id, undefined)
        continue
      }
      this.#plan.deleted++
      this.#rows.readUnread(id)
      this.#plan.add(this.#part.name, deleteOperation('delete', this.#part.name, id, before), () => this.#plan.see(this.#seen, id, undefined))
    }
  }

  #flush(): void {
    const { name } = this.#part
    const see = (list: readonly { row: Members }[]) => ({ ids }: { ids: readonly string[] }): void => {
      const stored = new Map(this.#rows.getMany(ids).map((row) => [row.id, row]))
      ids.forEach((id, at) => {
        const row = stored.get(id)
        const shown = list[at]?.row
        // The page's own, though a set may be stored in another order.
        if (row !== undefined && shown !== undefined) this.#plan.see(this.#seen, id, seenAs(shown, row))
      })
    }
    if (this.#inserts.length > 0) this.#plan.add(name, insertion(name, texts(this.#inserts)), see(this.#inserts))
    if (this.#nameless.length > 0) this.#plan.add(name, insertion(name, texts(this.#nameless), true), see(this.#nameless))
    if (this.#imports.length > 0) this.#plan.add(name, importation(name, texts(this.#imports)))
  }

  #appends(id: string): boolean {
    return this.#store.policy(this.#part.name, id) === 'append-only'
  }

  #isDeleted(id: string): boolean {
    this.#deleted ??= new Set(this.#rows.deleted().map((row) => row.id))
    return this.#deleted.has(id)
  }

  /** An id for another row that is shown as `id`. */
  #freeId(id: string): string {
    for (let n = 2; n < 1_000_000; n++) {
      const free = `$dup_${n}_${id}`.slice(0, 128)
      if (this.#taken.has(free) || this.#seen.rows.has(free) || this.#rows.get(free) !== undefined || this.#isDeleted(free)) continue
      this.#taken.add(free)
      return free
    }
    throw new HomingError({ code: 'duplicate-id', message: `Too many rows share the id '${id}'.`, phase: 'write', path: this.#part.pointer })
  }

  #pointer(at: number): string {
    return `${this.#part.pointer}/${at}`
  }
}

function texts(list: readonly { readonly text: string }[]): string[] {
  return list.map(({ text }) => text)
}
