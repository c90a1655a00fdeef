// What an earlier session left in `localStorage`, where the browser had no IndexedDB for it. The engine takes it to IndexedDB when it opens
// that; one in a worker sees no `localStorage`. Not here: that storage (`src/storage/local_storage.rs`), choosing it (`src/web/storage.rs`).

import { openEngine } from '#wasm'
import type { Engine, Hooks } from './engine.js'
import { toHomingError } from './errors.js'
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

/**
 * An engine of this page takes it along to IndexedDB, and sends nothing. Where that is not to be had, or a page may not run wasm, it stays where
 * it is: the worker opens all the same.
 */
export async function carryOver({ text }: Declaration, hooks: Hooks, load: () => Promise<void>): Promise<void> {
  const declared = JSON.parse(text) as { readonly sync?: object }
  const silent = JSON.stringify({ ...declared, storage: 'indexeddb', ...declared.sync !== undefined && { sync: { ...declared.sync, auto: false } } })
  try {
    await load()
    const engine = await openEngine(silent, hooks) as Engine
    await engine.close()
    engine.free()
  } catch (error) {
    const { message } = toHomingError(error, 'open')
    hooks.log?.(JSON.stringify({ level: 'warn', message: 'what lies in localStorage was not taken over', phase: 'storage', data: { why: message } }))
  }
}
