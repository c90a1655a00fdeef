// What an earlier session left in `localStorage`, where the browser had no IndexedDB for it. The engine takes it to IndexedDB when it opens
// that; one in a worker sees no `localStorage`. Not here: that storage (`src/storage/local_storage.rs`), choosing it (`src/web/storage.rs`).

import { openEngine } from '#wasm'
import type { Engine, Hooks } from './engine.js'
import { storedName } from './names.js'
import type { Declaration } from './options.js'

/** Whether a database lies there, under the name that storage has for it. */
export function liesInLocalStorage(stored: string): boolean {
  try {
    return globalThis.localStorage?.getItem(`${stored}|marks`) != null
  } catch {
    // Forbidden here.
    return false
  }
}

/** Whether a worker would leave something there: of this database, or of the one whose work it takes over. */
export function isLeftToWorkers({ name, stored, adopts, durable }: Declaration): boolean {
  return durable && (liesInLocalStorage(stored) || (adopts !== null && liesInLocalStorage(storedName(name, adopts))))
}

/** An engine of this page takes it along, and sends nothing. */
export async function carryOver({ text }: Declaration, hooks: Hooks): Promise<void> {
  const declared = JSON.parse(text) as { readonly sync?: object }
  const silent = declared.sync === undefined ? text : JSON.stringify({ ...declared, sync: { ...declared.sync, auto: false } })
  const engine = await openEngine(silent, hooks) as Engine
  await engine.close()
  engine.free()
}
