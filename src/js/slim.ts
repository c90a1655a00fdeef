// The entry without the wasm: the caller says where it is. For strict size budgets, content security policies and service
// workers. The file is `homing/wasm`.

import { HomingError } from './errors.js'
import { compileWasm, type WasmSource } from './loader.js'
import { list, remove } from './databases.js'
import { open } from './opening.js'
import type { Database, OpenOptions, Schema, StoredDatabase } from './types.js'

export { HomingError } from './errors.js'
export { sharedSchema } from './shared.js'
export type { WasmSource } from './loader.js'
export type * from './types.js'

/**
 * Like `openDatabase` of the default entry; the module is loaded from `wasm`, once per page.
 *
 * @throws HomingError as there; `wasm-load-failed` says what was wrong with the file
 * @example
 * const db = await openDatabase<Farm>({ name: 'farm', wasm: new URL('/assets/homing.wasm', location.href) })
 */
export async function openDatabase<S extends Schema = Record<string, Record<string, unknown>>>(options: OpenOptions<S> & { wasm: WasmSource | Promise<WasmSource> }): Promise<Database<S>> {
  const { wasm, ...others } = options ?? {}
  if (wasm === undefined) throw new HomingError({ code: 'wasm-load-failed', message: 'openDatabase of homing/slim needs the option wasm: an address, a Response, bytes or a compiled module.', phase: 'open', path: '/wasm' })
  // Page and worker may both need it, and a Response is read once.
  let compiled: Promise<WebAssembly.Module> | null = null
  const once = (): Promise<WebAssembly.Module> => compiled ??= compileWasm(() => wasm)
  const inWorker = others.worker !== undefined && others.worker !== false
  return open<S>(others as unknown as OpenOptions<S>, { source: inWorker ? once : () => wasm, script: null, wasm: once })
}

/** Like `listDatabases` of the default entry. @example const all = await listDatabases({ wasm }) */
export async function listDatabases({ wasm }: { wasm: WasmSource | Promise<WasmSource> }): Promise<readonly StoredDatabase[]> {
  return list(() => wasm)
}

/** Like `deleteDatabase` of the default entry. @example await deleteDatabase({ name: 'farm', scope: 'user-7', wasm }) */
export async function deleteDatabase({ wasm, ...which }: { name: string; scope?: string; discardPending?: boolean; wasm: WasmSource | Promise<WasmSource> }): Promise<void> {
  return remove(which, () => wasm)
}
