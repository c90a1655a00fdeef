// Everything in the store as one tree, and the note of what the page has seen by it.

import type { AnyRow } from '../query.js'
import type { Session } from '../session.js'
import { ARCHIVE, SINGLETON, copy, isReserved, sameContent, type Members } from '../values.js'
import { ROOT, join, restOf, rootContent, split, type Parts } from './mapping.js'
import { shownId } from './matching.js'
import { written } from './plan.js'
import { Baseline, Store } from './store.js'

/** The tree and what it was made from. */
export function exportTree(session: Session, reserved: boolean): { tree: Members; baseline: Baseline } {
  const store = new Store(session)
  const rows = new Map<string, Members[]>()
  const ones = new Map<string, Members>()
  for (const [name, kind] of store.kinds) {
    const one = kind === 'one' ? session.rows(name).get(SINGLETON) : undefined
    if (one === undefined) rows.set(name, session.rows(name).all().map((row) => shownRow(row, reserved)))
    else ones.set(name, shownRow(one, reserved))
  }
  const tree = join({ shape: store.shape, rows, ones, rest: restOf(store.shownRoot) })
  const baseline = noted(store, tree, rows)
  const archive = session.reports.conflicts.list()
  baseline.archive = archive
  if (archive.length > 0) tree[ARCHIVE] = copy(archive)
  return { tree, baseline }
}

/** What was seen is what a save would find in the tree: where two have one place, a tree shows one of them, and nobody deletes the other. */
function noted(store: Store, tree: Members, shown: Parts['rows']): Baseline {
  const baseline = new Baseline()
  const { rows, ones, rest } = split(tree, store)
  for (const part of rows) if (shown.get(part.name) === part.rows) baseline.see(part.name, store.session.rows(part.name).all())
  for (const { name, value } of ones) {
    const row = store.session.rows(name).get(SINGLETON)
    if (row !== undefined) baseline.see(name, [asShown(row, value)])
  }
  if (store.root !== undefined) baseline.see(ROOT, [asShown(store.root, rootContent(rest, store.shape))])
  return baseline
}

/** A version of a record with what a tree shows of it. */
export function asShown(row: AnyRow, content: Members): AnyRow {
  return sameContent(content, row) ? row : written(content, row)
}

/** A stored row as a tree shows it. `reserved` adds the stamps, and the ids that Homing gave. */
export function shownRow(row: AnyRow, reserved: boolean): Members {
  const shown: Members = {}
  let id = shownId(row)
  if (id === undefined && reserved) id = row.id
  if (id !== undefined && id !== SINGLETON) shown['id'] = copy(id)
  for (const name in row) if (!isReserved(name)) shown[name] = copy(row[name])
  if (reserved) for (const name of ['_updatedAt', '_deletedAt', '_rev']) if (row[name] !== undefined) shown[name] = row[name]
  return shown
}
