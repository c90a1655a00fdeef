// Ids of rows that are imported without one: named after their content, as `src/core/plan/import.rs` does, so that the page shows
// them under the ids that the worker will give. The browser's own SHA-256 only answers later. Pure.

import { sha256 } from '@noble/hashes/sha2.js'
import canonicalize from 'canonicalize'
import { ROW_PREFIX } from '../values.js'

const UTF8 = new TextEncoder()

/** The id of the nth row of that content in one import, from 1. */
export function rowId(collection: string, row: object, times: Map<string, number>): string {
  const content = digest(collection, canonicalize(row) ?? '')
  const n = (times.get(content) ?? 0) + 1
  times.set(content, n)
  return ROW_PREFIX + digest(content, String(n))
}

/** The first 16 bytes of SHA-256 over the parts, each behind its length, in hex. */
export function digest(...parts: readonly string[]): string {
  const hash = sha256.create()
  for (const part of parts) {
    const text = UTF8.encode(part)
    const length = new DataView(new ArrayBuffer(8))
    length.setUint32(0, text.length, true)
    hash.update(new Uint8Array(length.buffer)).update(text)
  }
  return [...hash.digest().subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
