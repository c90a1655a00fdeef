// Three versions of one record, field by field: what somebody changed between two of them, made on the third. Pure.

import { copy, isObject, isReserved, sameValue, step, type Members } from '../values.js'

/** `current` with what `mine` changed since `base`. Arrays are one value. Homing's own members of the records are left out. */
export function rebase(base: Members, mine: Members, current: Members, skip = isReserved): Members {
  const out: Members = {}
  for (const name of names(current, mine, skip)) {
    const value = rebaseMember(base[name], mine[name], current[name])
    if (value !== undefined) out[name] = value
  }
  return out
}

function rebaseMember(base: unknown, mine: unknown, current: unknown): unknown {
  if (sameValue(base, mine)) return current
  return isObject(base) && isObject(mine) && isObject(current) ? rebase(base, mine, current, none) : mine
}

/** The fields to change: `undefined` removes. */
export function patchOf(from: Members, to: Members): Members {
  const patch: Members = {}
  for (const name of names(from, to, isReserved)) if (!sameValue(from[name], to[name])) patch[name] = to[name]
  return patch
}

/**
 * Brings into `tree` what changed between `base` and `current`, in place; a member that differs from `base` is the tree's own
 * edit and stays. Returns the pointers of what changed.
 */
export function bringIn(tree: Members, base: Members, current: Members, pointer: (name: string) => string, skip = isReserved): string[] {
  const changed: string[] = []
  for (const name of names(base, current, skip)) {
    const [before, now] = [base[name], current[name]]
    if (name === '__proto__' || sameValue(before, now)) continue
    const mine = Object.hasOwn(tree, name) ? tree[name] : undefined
    if (sameValue(mine, before)) {
      if (now === undefined) delete tree[name]
      else tree[name] = copy(now)
      changed.push(pointer(name))
    } else if (isObject(mine) && isObject(now) && (before === undefined || isObject(before))) {
      changed.push(...bringIn(mine, before ?? {}, now, (inner) => pointer(name) + step(inner), none))
    }
  }
  return changed
}


function names(a: Members, b: Members, skip: (name: string) => boolean): Set<string> {
  return new Set([...Object.keys(a), ...Object.keys(b)].filter((name) => !skip(name)))
}

/** For objects that are no records: they have no members of ours. */
export function none(): boolean {
  return false
}
