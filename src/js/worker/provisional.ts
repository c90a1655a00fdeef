// What the page shows of a write before the worker has planned it: the same rules as `src/core/plan.rs` as far as a row can show
// them. What may be refused is shown as nothing; the worker decides. `local` are members that never leave the device. Pure. Not here: keeping versions (`mirror.ts`).

import { isDead, isReserved, valueOf, type Slot } from './slot.js'
import { apart, sameContent, sameValue, type Members } from '../values.js'

/** One operation on one record. */
export type Step =
  | { readonly op: 'insert' | 'import'; readonly record: Members }
  | { readonly op: 'put'; readonly record: Members; readonly said: Said }
  | { readonly op: 'update'; readonly set: Members; readonly unset: readonly string[] }
  | { readonly op: 'delete' | 'undelete' }

/** What a `put` says of members that never leave the device: how those of that name are, how those it has are, or how all of them are. */
export type Said = readonly string[] | 'some' | 'all'

/** What of a collection never leaves the device, mostly nothing. */
export type Local = readonly string[]
export const NOTHING_LOCAL: Local = []
export type LocalOf = (collection: string) => Local

/**
 * The version after a step; the one before where nothing changes, or where the worker will refuse.
 *
 * @param at what the clock says
 */
export function next(step: Step, id: string, before: Slot | undefined, at: number, local: Local = NOTHING_LOCAL): Slot | undefined {
  switch (step.op) {
    case 'insert':
      return before === undefined || isDead(before) ? built(id, step.record, stampAfter(before, at), false) : before
    case 'import':
      return before ?? built(id, step.record, stampAfter(before, at), false)
    case 'put': {
      if (before === undefined || isDead(before)) return built(id, step.record, stampAfter(before, at), false)
      const [shared, given] = apart(step.record, local)
      const [row, had] = apart(valueOf(before), local)
      const own = beside(step.said, given, had, local)
      if (!sameContent(shared, row)) return built(id, { ...shared, ...own }, stampAfter(before, at), false)
      // Nobody else hears of it: it is the same version.
      return sameContent(own, had) ? before : { ...row, ...own }
    }
    case 'update':
      return before === undefined || isDead(before) ? before : updated(id, before, step, at, local)
    case 'delete':
      return before === undefined || isDead(before) ? before : built(id, apart(valueOf(before), local)[0], stampAfter(before, at), true, true)
    case 'undelete':
      return before === undefined || !isDead(before) ? before : built(id, valueOf(before), stampAfter(before, at), false, true)
  }
}

function updated(id: string, before: Slot, { set, unset }: { readonly set: Members; readonly unset: readonly string[] }, at: number, local: Local): Slot {
  const fields = { ...valueOf(before) }
  let [changed, shared] = [false, false]
  for (const name of unset) {
    if (name in fields && !isReserved(name)) {
      delete fields[name]
      changed = true
      shared ||= !local.includes(name)
    }
  }
  for (const name of Object.keys(set)) {
    if (isReserved(name) || sameValue(fields[name], set[name])) continue
    fields[name] = set[name]
    changed = true
    shared ||= !local.includes(name)
  }
  if (changed && !shared) return fields
  return changed ? built(id, fields, stampAfter(before, at), false, true) : before
}

function beside(said: Said, given: Members, had: Members, local: Local): Members {
  if (said === 'all') return given
  if (said === 'some') return { ...had, ...given }
  const own: Members = {}
  for (const name of local) {
    const value = (said.includes(name) ? given : had)[name]
    if (value !== undefined) own[name] = value
  }
  return own
}

/** A row in the order in which the engine writes its members: local versions have no `_rev`. */
function built(id: string, fields: Members, at: string, dead: boolean, keepsHidden = false): Members {
  const row: Members = { id }
  for (const name of Object.keys(fields)) {
    if (name === 'id' || name === '_updatedAt' || name === '_deletedAt' || name === '_rev') continue
    if (!keepsHidden && (name === '_fieldTimes' || name === '_crdt')) continue
    row[name] = fields[name]
  }
  row['_updatedAt'] = at
  row['_deletedAt'] = dead ? at : null
  return row
}

/** Later than the version before, whatever the clock says. */
function stampAfter(before: Slot | undefined, at: number): string {
  const seen = before === undefined ? NaN : Date.parse(String(valueOf(before)['_updatedAt']))
  return new Date(Number.isNaN(seen) ? at : Math.max(at, seen + 1)).toISOString()
}
