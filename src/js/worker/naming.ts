// Ids of new records, made in the page so that they are known at once; and the randomness that makes them, on both sides.

import { OPTIMISTIC_PREFIX, ROW_PREFIX } from '../values.js'

/** Clock and randomness of the page, and which collections get their ids from the server. */
export interface Naming {
  now(): number
  random(): number
  remaps(collection: string): boolean
}

/** An id made up, and what it was made of, so that the engine makes the same. */
export interface Made { readonly id: string; readonly uuid: string | null; readonly drawn: number | null }

/**
 * As the engine names a new record; null is a row that came without an id.
 *
 * @param now what the clock says
 */
export function newId(naming: Naming, collection: string | null, now: number): Made {
  if (collection === null || !naming.remaps(collection)) {
    const uuid = randomUuid()
    return { id: collection === null ? ROW_PREFIX + uuid : uuid, uuid, drawn: null }
  }
  const drawn = naming.random()
  const letters = Math.floor(drawn * 36 ** 8).toString(36).padStart(8, '0')
  return { id: `${OPTIMISTIC_PREFIX}${Math.max(0, Math.floor(now)).toString(36)}_${letters}`, uuid: null, drawn }
}

/** Version 4; pages without a secure context have no `randomUUID`. */
export function randomUuid(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** The app's randomness goes on here from one number of it: its function cannot be asked from a worker (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = Math.floor(seed * 2 ** 32) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
