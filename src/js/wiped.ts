// Wipes by sessions that could not reach IndexedDB, where an older copy may lie. A mark in `localStorage` has whoever reaches it next delete
// that copy before anything of it is read (`src/web/storage.rs`). Not here: wiping (`opening.ts`, `databases.ts`).

import { pendingOf } from '#wasm'
import { HomingError } from './errors.js'
import { storedName } from './names.js'
import type { Declaration } from './options.js'
import { randomUuid } from './worker/naming.js'

/** `discard`: also what was never sent. */
export interface Wipe { readonly id: string; readonly discard: boolean }

const PREFIX = 'homing:wiped:'
/** As long as another tab may keep us from deleting. */
const PATIENCE_MS = 5000

/** The wipe that has to be finished; undefined where there is none. */
export function wipeOf(stored: string): Wipe | undefined {
  try {
    const found: unknown = JSON.parse(globalThis.localStorage?.getItem(PREFIX + stored) ?? 'null')
    return isWipe(found) ? found : undefined
  } catch {
    // Forbidden here, or not ours.
    return undefined
  }
}

function isWipe(value: unknown): value is Wipe {
  return typeof value === 'object' && value !== null && typeof (value as Wipe).id === 'string' && typeof (value as Wipe).discard === 'boolean'
}

/** That wipe is finished: no older copy is there any more. */
export function forgetWipe(stored: string, wipe: Wipe | undefined): void {
  // There may be another one since.
  if (wipe !== undefined && wipeOf(stored)?.id === wipe.id) note(stored, undefined)
}

/** Notes a wipe, or that there is none. */
function note(stored: string, wipe: Wipe | undefined): void {
  try {
    if (wipe === undefined) globalThis.localStorage?.removeItem(PREFIX + stored)
    else globalThis.localStorage?.setItem(PREFIX + stored, JSON.stringify(wipe))
  } catch {
    // Forbidden here: then it is finished now, or not at all.
  }
}

/** How much waits in a database, without what is older than a wipe. */
export function pendingIn(stored: string): Promise<number | undefined> {
  return oneByOne([stored], () => pendingOf(stored, JSON.stringify(wipeOf(stored))))
}

/**
 * Deletes a database: `work` what it can reach, unless it refuses. What is left is deleted then, or by whoever reaches it next. Noted before, so
 * that a database which somebody begins meanwhile is known to be none of that.
 */
export async function wipeAll(stored: string, discard: boolean, work: () => Promise<unknown>): Promise<void> {
  const before = wipeOf(stored)
  const wipe = { id: randomUuid(), discard: discard || before?.discard === true }
  note(stored, wipe)
  try {
    await work()
  } catch (error) {
    note(stored, before)
    throw error
  }
  // There may have been no room for it.
  note(stored, wipe)
  try {
    if (await pendingIn(stored) === undefined) forgetWipe(stored, wipe)
  } catch {
    // Not reached, or no module here to do it with: the mark stays.
  }
}

/** The declaration with the wipes that have to be finished before anything is opened. */
export function withWipes(declaration: Declaration): Declaration {
  const { name, stored, adopts, text } = declaration
  const [wiped, adoptWiped] = [wipeOf(stored), adopts === null ? undefined : wipeOf(storedName(name, adopts))]
  if (wiped === undefined && adoptWiped === undefined) return declaration
  return { ...declaration, text: JSON.stringify({ ...JSON.parse(text) as object, wiped, adoptWiped }) }
}

/**
 * Calls what finishes the wipes of these names, if there are any: one tab at a time. Of two that find the same older copy, one would delete what
 * the other has begun in its place.
 */
export async function oneByOne<T>(names: readonly string[], call: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks
  if (locks === undefined || names.every((stored) => wipeOf(stored) === undefined)) return call()
  const waiting = new AbortController()
  const patience = setTimeout(() => waiting.abort(), PATIENCE_MS)
  let answer: Promise<T> | undefined
  try {
    await locks.request('homing:wipe', { signal: waiting.signal }, () => {
      clearTimeout(patience)
      return answer = call()
    })
  } catch (cause) {
    if (answer === undefined && waiting.signal.aborted) throw new HomingError({ code: 'blocked', message: 'Another tab is deleting what was wiped, and does not come to an end. Close it, or reload it.', phase: 'open', cause })
  } finally {
    clearTimeout(patience)
  }
  // Where there are no locks after all (a sandboxed frame), nobody waits.
  return answer ?? call()
}
