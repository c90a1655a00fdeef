// The databases of this origin: which there are, deleting one that is not open. Not here: opening (`opening.ts`).

import { deleteStored } from '#wasm'
import { HomingError, toHomingError } from './errors.js'
import { checkEnvironment, loadWasm, type WasmSource } from './loader.js'
import { parseStoredName, storedName } from './names.js'
import { isOpen } from './opening.js'
import { forgetOpened, openedBefore } from './registry.js'
import type { StoredDatabase } from './types.js'
import { pendingIn, wipeAll } from './wiped.js'

/** What both entries of the package share. */
export async function list(source: () => WasmSource | Promise<WasmSource>): Promise<readonly StoredDatabase[]> {
  checkEnvironment()
  await loadWasm(source)
  const opened = openedBefore()
  const known = new Map(opened.map(({ name, scope }) => [JSON.stringify([name, scope]), { name, scope }]))
  for (const one of await named()) known.set(JSON.stringify([one.name, one.scope]), one)
  const found: StoredDatabase[] = []
  for (const { name, scope } of known.values()) {
    const pending = await asked(() => pendingIn(storedName(name, scope)))
    const lastOpenedAt = opened.find((one) => one.name === name && one.scope === scope)?.at ?? ''
    if (pending === undefined) forgetOpened(name, scope)
    else found.push(Object.freeze({ name, scope, pending, lastOpenedAt }))
  }
  return Object.freeze(found)
}

/** Deletes a database that this page has not open. */
export async function remove(which: { name: string; scope?: string; discardPending?: boolean }, source: () => WasmSource | Promise<WasmSource>): Promise<void> {
  checkEnvironment()
  const { name, scope = '', discardPending } = which ?? {}
  if (typeof name !== 'string' || typeof scope !== 'string') throw new HomingError({ code: 'invalid-record', message: 'A database is named by texts, its name and its scope.', phase: 'close', path: typeof name === 'string' ? '/scope' : '/name' })
  await loadWasm(source)
  if (isOpen(name, scope)) throw new HomingError({ code: 'blocked', message: `'${name}' is open in this page: use its wipe(), or close it first.`, phase: 'close' })
  const pending = discardPending === true ? 0 : await asked(() => pendingIn(storedName(name, scope))) ?? 0
  if (pending > 0) throw new HomingError({ code: 'pending-work', message: `${pending} writes did not reach the server yet.`, phase: 'close' })
  // Where the browser has no IndexedDB for us now, an older copy may lie there.
  await wipeAll(storedName(name, scope), discardPending === true, () => asked(() => deleteStored(storedName(name, scope))))
  forgetOpened(name, scope)
}

/** Newer browsers can say which databases there are, also those opened where `localStorage` is missing. */
async function named(): Promise<{ readonly name: string; readonly scope: string }[]> {
  try {
    const all = await globalThis.indexedDB?.databases?.() ?? []
    return all.flatMap((database) => parseStoredName(database.name ?? '') ?? [])
  } catch {
    // Forbidden here, to ask for it even.
    return []
  }
}

async function asked<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (thrown) {
    throw toHomingError(thrown, 'storage')
  }
}
