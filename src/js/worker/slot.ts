// A row as the mirror keeps it: the worker's text, or what the page has made of it and nobody has needed as text. Pure.

import { sameValue, type Members } from '../values.js'

export { isReserved } from '../values.js'

/** Never changed, never handed out. */
export type Slot = string | Members

const DELETED = '"_deletedAt":'

export function textOf(slot: Slot): string {
  return typeof slot === 'string' ? slot : JSON.stringify(slot)
}

export function valueOf(slot: Slot): Members {
  return typeof slot === 'string' ? JSON.parse(slot) as Members : slot
}

/** Whether a row is a tombstone; decoded only where the text leaves a doubt. */
export function isDead(slot: Slot): boolean {
  if (typeof slot === 'string') {
    const at = slot.indexOf(DELETED)
    if (at < 0) return false
    const after = at + DELETED.length
    if (slot.startsWith('null', after) && slot.indexOf(DELETED, after) < 0) return false
  }
  return valueOf(slot)['_deletedAt'] != null
}

/** Whether both hold the same, Homing's own members included. */
export function sameSlot(a: Slot | undefined, b: Slot | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  return textOf(a) === textOf(b) || sameValue(valueOf(a), valueOf(b))
}

/** The same for those who look: when which field was written is between Homing and the server. */
export function looksSame(a: Slot | undefined, b: Slot | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  return textOf(a) === textOf(b) || sameValue(untimed(a), untimed(b))
}

function untimed(slot: Slot): Members {
  const { _fieldTimes: _, ...rest } = valueOf(slot)
  return rest
}
