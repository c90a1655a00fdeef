// Bringing what changed in the store into the app's tree, in place. What the tree changed and has not saved stays.

import type { AnyRow } from '../query.js'
import { ARCHIVE, SINGLETON, copy, isObject, isReserved, sameContent, sameValue, step, steps, type Members } from '../values.js'
import { asShown, shownRow } from './exporting.js'
import { ROOT, dig, escape, place, restOf, rootContent, shapeOf, type Shape } from './mapping.js'
import { matchRows, shownId, type Seen } from './matching.js'
import { bringIn, none } from './rebase.js'
import type { Baseline, Store } from './store.js'

/**
 * Refreshes the tree and the baseline; returns JSON Pointers of what changed in the tree.
 *
 * @param unseen the page has never seen this tree: where ids meet, the store wins
 */
export function refreshTree(store: Store, tree: Members, baseline: Baseline, unseen: boolean): string[] {
  const changed = [...refreshRoot(store, tree, baseline), ...refreshArchive(store, tree, baseline)]
  for (const name of new Set([...baseline.names(), ...store.kinds.keys()])) {
    if (name === ROOT || !store.hasPlace(name)) continue
    const pointer = name.split('.').map(step).join('')
    const refresh = store.kindOf(name) === 'one' ? refreshOne : refreshRows
    changed.push(...refresh(store, tree, name, pointer, baseline, unseen))
  }
  return changed
}

/** The archive is Homing's: nothing that the tree says of it is an edit. */
function refreshArchive(store: Store, tree: Members, baseline: Baseline): string[] {
  const archive = store.session.reports.conflicts.list()
  if (baseline.archive === archive) return []
  baseline.archive = archive
  const shown = tree[ARCHIVE]
  if (sameValue(shown, archive.length > 0 ? archive : undefined)) return []
  if (archive.length === 0) delete tree[ARCHIVE]
  else if (Array.isArray(shown)) shown.splice(0, shown.length, ...copy(archive))
  else tree[ARCHIVE] = copy(archive)
  return [step(ARCHIVE)]
}

function refreshRoot(store: Store, tree: Members, baseline: Baseline): string[] {
  const seen = baseline.of(ROOT)
  const before = seen.rows.get(SINGLETON)
  const root = store.shownRoot
  if (root === undefined || root === before) return []
  const [base, now] = [copy(restOf(before)), copy(restOf(root))]
  // An empty list is a collection until somebody puts something else there, or the other way round.
  const known = lists(shapeOf(before))
  for (const path of known.values()) if (isEmpty(baseline, path)) fill(base, path)
  for (const [pointer, path] of lists(store.shape)) if (store.hasPlace(path.join('.')) && (!known.has(pointer) || isEmpty(baseline, path))) fill(now, path)
  const changed = bringIn(tree, base, now, step, none)
  const rest = shownRest(tree, restOf(before), restOf(root))
  seen.set(SINGLETON, asShown(root, rootContent(Object.fromEntries(Object.entries(rest).map(([member, value]) => [escape(member), value])), store.shape)))
  return changed
}

/** The places of collections. */
function lists(shape: Shape): Map<string, string[]> {
  return new Map(Object.keys(shape).filter((pointer) => shape[pointer] === 'rows').map((pointer) => [pointer, steps(pointer)]))
}

function isEmpty(baseline: Baseline, path: readonly string[]): boolean {
  return baseline.of(path.join('.')).rows.size === 0
}

function fill(rest: Members, path: readonly string[]): void {
  if (dig(rest, path) === undefined) place(rest, path, [])
}

/** What the tree shows of the rest now; where it has something of its own, what was seen there before. */
function shownRest(tree: Members, before: Members, now: Members): Members {
  const rest: Members = {}
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [mine, value, old] = [tree[name], now[name], before[name]]
    const shown = sameValue(mine, value) ? value : isObject(mine) && isObject(value) ? shownRest(mine, isObject(old) ? old : {}, value) : old
    if (shown !== undefined) rest[name] = shown
  }
  return rest
}

function refreshOne(store: Store, tree: Members, name: string, pointer: string, baseline: Baseline, unseen: boolean): string[] {
  const seen = baseline.of(name)
  const before = seen.rows.get(SINGLETON)
  const current = store.session.rows(name).get(SINGLETON)
  if (current === before || current === undefined) return []
  const path = steps(pointer)
  const mine = dig(tree, path)
  // What the tree does not show is not seen either.
  if (!isObject(mine)) {
    if (mine !== undefined || before !== undefined || !place(tree, path, shownRow(current, false))) return []
    seen.set(SINGLETON, current)
    return [pointer]
  }
  if (before === undefined && (unseen || isSettled(mine, SINGLETON, seen))) {
    seen.set(SINGLETON, current)
    return overwrite(mine, current, false) ? [pointer] : []
  }
  const base = before ?? seenBelow(baseline, name)
  // The tree and the store say something else of one field, and neither was made from the other: the next save archives the tree's.
  if (before === undefined && Object.keys(current).some((field) => !isReserved(field) && !sameValue(mine[field], base[field]) && !sameValue(mine[field], current[field]))) return []
  seen.set(SINGLETON, current)
  return bringIn(mine, base, current, (member) => pointer + step(member))
}

/** What was seen in the place of a singleton when it was none yet: the collections below it. */
function seenBelow(baseline: Baseline, name: string): Members {
  const base: Members = {}
  for (const one of baseline.names()) {
    if (one.startsWith(`${name}.`)) place(base, one.slice(name.length + 1).split('.'), [...baseline.of(one).rows.values()].map((row) => shownRow(row, false)))
  }
  return base
}

/** Whether the tree still shows what met another record and was archived, so that nothing is lost where the winner takes its place. */
function isSettled(mine: Members, id: string, seen: Seen): boolean {
  const text = seen.offered.get(id)
  return text !== undefined && sameContent(mine, JSON.parse(text) as Members)
}

function refreshRows(store: Store, tree: Members, name: string, pointer: string, baseline: Baseline, unseen: boolean): string[] {
  const seen = baseline.of(name)
  const rows = store.session.rows(name)
  const all = rows.all()
  if (seen.snapshot === all) return []
  const path = steps(pointer)
  const there = dig(tree, path)
  // The app put something else there, or took it away: nothing of ours.
  if (there !== undefined && !(Array.isArray(there) && there.every(isObject))) return []
  if (there === undefined && (seen.rows.size > 0 || all.length === 0)) return []
  const list = there as Members[] | undefined ?? []
  if (there === undefined && !place(tree, path, list)) return []
  return new RowsRefresh(store, name, list, seen, all).run(unseen).map((at) => at === null ? pointer : pointer + step(at))
}

/** One collection. Positions of changed rows; null for rows that are gone. */
class RowsRefresh {
  readonly #store: Store
  readonly #name: string
  readonly #list: Members[]
  readonly #seen: Seen
  readonly #all: readonly AnyRow[]
  /** Whether the tree shows the ids that Homing gave, as an export with `reserved` does. */
  readonly #reserved: boolean

  constructor(store: Store, name: string, list: Members[], seen: Seen, all: readonly AnyRow[]) {
    this.#store = store
    this.#name = name
    this.#list = list
    this.#seen = seen
    this.#all = all
    this.#reserved = list[0]?.['_updatedAt'] !== undefined
  }

  run(unseen: boolean): (number | null)[] {
    const current = new Map(this.#all.map((row) => [row.id, row]))
    if (unseen) for (const row of this.#all) this.#seen.set(row.id, row)
    const matches = matchRows(this.#list, this.#seen, this.#store.local(this.#name))
    const unsaved = new Map<unknown, Members>()
    const changed: (number | null)[] = []
    let gone = 0
    let write = 0
    for (let at = 0; at < this.#list.length; at++) {
      const row = this.#list[at] as Members
      const id = matches.ids[at]
      if (id !== undefined && !current.has(id) && this.#forget(row, id)) {
        gone++
        continue
      }
      if (id === undefined && row['id'] !== undefined) unsaved.set(row['id'], row)
      this.#list[write] = row
      if (id !== undefined && this.#update(row, id, current.get(id), unseen)) changed.push(write)
      write++
    }
    this.#list.length = write
    for (const row of this.#all) {
      if (matches.used.has(row.id) || (!unseen && this.#seen.rows.has(row.id))) continue
      const mine = unseen ? undefined : unsaved.get(shownId(row))
      if (mine !== undefined) {
        if (this.#settle(mine, row)) changed.push(this.#list.indexOf(mine))
        continue
      }
      this.#seen.set(row.id, row)
      changed.push(this.#list.push(shownRow(row, this.#reserved)) - 1)
    }
    if (this.#all.length === this.#seen.rows.size && this.#all.every((row) => this.#seen.rows.get(row.id) === row)) this.#seen.snapshot = this.#all
    return gone > 0 ? [null, ...changed] : changed
  }

  /** An unsaved row has the id of one that arrived: the tree has not seen that, until a save has told them apart. */
  #settle(mine: Members, row: AnyRow): boolean {
    if (!isSettled(mine, row.id, this.#seen) && !sameContent(mine, row)) return false
    this.#seen.set(row.id, row)
    return overwrite(mine, row, this.#reserved)
  }

  /** A row that is deleted now leaves the tree, unless the tree has edited it. */
  #forget(row: Members, id: string): boolean {
    const before = this.#seen.rows.get(id)
    if (before === undefined || !sameContent(row, before)) return false
    this.#seen.delete(id)
    return true
  }

  #update(row: Members, id: string, now: AnyRow | undefined, unseen: boolean): boolean {
    const before = this.#seen.rows.get(id)
    if (before === undefined || now === undefined || (before === now && !unseen)) return false
    if (unseen || sameContent(row, before)) {
      this.#seen.set(id, now)
      return overwrite(row, now, this.#reserved)
    }
    // The tree has edited it. Fields merge; a whole record keeps the version it was made from.
    if (this.#store.policy(this.#name, id) !== 'fields') return false
    this.#seen.set(id, now)
    return bringIn(row, before, now, step).length > 0
  }
}

/** Makes an object of the tree hold what the stored row holds. Returns whether that changed it. */
function overwrite(mine: Members, row: AnyRow, reserved: boolean): boolean {
  let changed = false
  const shown = shownRow(row, reserved)
  for (const name of Object.keys(mine)) {
    if (shown[name] !== undefined || name === 'id') continue
    delete mine[name]
    changed ||= !isReserved(name)
  }
  for (const [name, value] of Object.entries(shown)) {
    if (sameValue(mine[name], value)) continue
    mine[name] = copy(value)
    changed ||= !isReserved(name)
  }
  return changed
}
