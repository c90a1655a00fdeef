// The declaration file that client and server share, with a type: what TypeScript makes of imported JSON says `string` where a
// declaration has a word, so it fits no declaration.

import type { SchemaFile, SharedCollections } from './types.js'

/**
 * The declarations of a JSON file, for `openDatabase`, which checks them.
 *
 * @example
 * import file from './farm.json'
 * const db = await openDatabase<Farm>({ name: 'farm', ...sharedSchema(file), sync })
 */
export function sharedSchema(file: SchemaFile): { readonly version: number; readonly collections: SharedCollections } {
  return { version: file?.version ?? 0, collections: file?.collections as unknown as SharedCollections }
}
