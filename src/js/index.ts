// The default entry: the wasm is inlined, nothing has to be configured. Importing it does no work.

import wasmBytes from 'homing:wasm-bytes'
import { open } from './opening.js'
import type { Database, OpenOptions, Schema } from './types.js'

export { HomingError } from './errors.js'
export type * from './types.js'

/**
 * Opens a database; resolves when local data is readable. It never waits for the network, a token or another tab. The same name
 * and scope opened twice in a page are one engine.
 *
 * @throws HomingError `unsupported-environment`, `wasm-load-failed`, `options-differ`, `storage-unavailable`, `format-too-new`
 * @example
 * const db = await openDatabase<Farm>({ name: 'farm', sync: { url: 'https://example.org', getToken } })
 * await db.collection('flocks').insert({ name: 'Layer Group 3' })
 */
export function openDatabase<S extends Schema = Record<string, Record<string, unknown>>>(options: OpenOptions<S>): Promise<Database<S>> {
  return open(options, wasmBytes)
}
