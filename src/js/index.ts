// The default entry: the wasm is inlined, nothing has to be configured. Importing it does no work.

import wasmBytes, { base64 } from 'homing:wasm-bytes'
import script from 'homing:worker-script'
import { list, remove } from './databases.js'
import { Inside, type Surroundings } from './inside.js'
import { open } from './opening.js'
import type { AnyOptions } from './options.js'
import type { Database, OpenOptions, Schema, StoredDatabase } from './types.js'

export { HomingError } from './errors.js'
export { sharedSchema } from './shared.js'
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
  return open(options, { source: wasmBytes, script, wasm: async () => base64() })
}

/**
 * The databases of this origin on this device, for a log-in page: whose they are, and how much of them was never sent.
 *
 * @throws HomingError `storage-unavailable`
 * @example
 * for (const { scope, pending } of await listDatabases()) console.log(scope, pending)
 */
export function listDatabases(): Promise<readonly StoredDatabase[]> {
  return list(wasmBytes)
}

/**
 * Deletes a database that is not open in this page.
 *
 * @throws HomingError `pending-work` while something is unsent, unless told to discard it; `blocked` while it is open here
 * @example await deleteDatabase({ name: 'farm', scope: 'user-7' })
 */
export function deleteDatabase(which: { name: string; scope?: string; discardPending?: boolean }): Promise<void> {
  return remove(which, wasmBytes)
}

/** For `homing/testing` alone: it tests this very engine. @internal */
export function openInside(options: AnyOptions, surroundings: Surroundings): Promise<Inside> {
  return Inside.make(options, surroundings, wasmBytes)
}
