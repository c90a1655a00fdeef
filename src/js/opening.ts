// Opening: one session per name and scope in a page, counted. Not here: loading the module (`loader.ts`), what can be done with
// an open database (`database.ts`).

import { openEngine } from '#wasm'
import { EarlyReading } from './early.js'
import type { Engine, Hooks } from './engine.js'
import { LocalDatabase } from './database.js'
import { HomingError, abortError, closedError, toHomingError } from './errors.js'
import { carryOver, isLeftToWorkers, liesInLocalStorage } from './fallback.js'
import { checkEnvironment, loadWasm, type WasmSource } from './loader.js'
import { declare, makeHooks, type AnyOptions, type Declaration } from './options.js'
import { storedName } from './names.js'
import { takePen, type Pen } from './pen.js'
import { forgetOpened, noteOpened, openedBefore } from './registry.js'
import { Session } from './session.js'
import { Tabs } from './tabs.js'
import type { Database, OpenOptions, Schema, Status } from './types.js'
import { forgetWipe, oneByOne, wipeAll, wipeOf, withWipes, type Wipe } from './wiped.js'
import { openRemote, type WorkerParts } from './worker/start.js'

/** What an entry of the package brings: the module, and what a worker needs. */
export interface Parts extends WorkerParts { source(): WasmSource | Promise<WasmSource> }

/** An open engine and how many databases of the page share it. */
interface Opened {
  readonly declaration: Declaration
  readonly ready: Promise<Session>
  users: number
  closing: Promise<void> | null
  /** It may be refused: then everything goes on. */
  wiping: Promise<void> | null
}

const opened = new Map<string, Opened>()

/** Opens a database; what both entries of the package share. Never throws, rejects with `HomingError`. */
export async function open<S extends Schema>(options: OpenOptions<S>, parts: Parts): Promise<Database<S>> {
  // The schema is a type only; from here on names are texts.
  const any = options as unknown as AnyOptions
  checkEnvironment()
  const declaration = declare(any)
  const { signal } = any
  if (signal?.aborted) throw abortError(signal, 'open')
  const shared = await share(declaration, any, parts)
  try {
    const session = await shared.ready
    if (signal?.aborted) throw abortError(signal, 'open')
    return new LocalDatabase(session, () => release(shared), (discardPending) => wipe(shared, discardPending)) as unknown as Database<S>
  } catch (error) {
    await release(shared).catch(() => {})
    throw toHomingError(error, 'open')
  }
}

/** The one engine of that name and scope; one that closes or is wiped is waited for. */
async function share(declaration: Declaration, options: AnyOptions, parts: Parts): Promise<Opened> {
  const key = keyOf(declaration)
  for (let other = opened.get(key); other !== undefined; other = opened.get(key)) {
    const leaving = other.closing ?? other.wiping
    if (leaving !== null) {
      await leaving.catch(() => {})
      continue
    }
    if (other.declaration.text !== declaration.text || other.declaration.inWorker !== declaration.inWorker) throw new HomingError({ code: 'options-differ', message: `'${declaration.name}' is open in this page with other options. Open it once, or with the same options.`, phase: 'open' })
    other.users++
    return other
  }
  const shared: Opened = { declaration, ready: start(declaration, options, parts), users: 1, closing: null, wiping: null }
  opened.set(key, shared)
  // The next call tries afresh: where it did not open, and where its worker has died.
  shared.ready.then(({ ended: { signal } }) => {
    // In a page the module itself is what failed: only a reload makes another one.
    if (!declaration.inWorker) return
    if (signal.aborted) forget(shared)
    else signal.addEventListener('abort', () => forget(shared), { once: true })
  }, () => forget(shared))
  return shared
}

async function start(declaration: Declaration, options: AnyOptions, parts: Parts): Promise<Session> {
  const early = declaration.durable && !declaration.inWorker ? new EarlyReading(declaration.stored) : null
  const session = new Session(declaration)
  try {
    await startOn(session, early, options, parts)
    return session
  } catch (error) {
    session.ended.abort()
    early?.drop().catch(() => {})
    throw error
  }
}

async function startOn(session: Session, early: EarlyReading | null, options: AnyOptions, parts: Parts): Promise<void> {
  const { declaration } = session
  const loading = declaration.inWorker ? null : loadWasm(() => parts.source())
  const carries = declaration.inWorker && isLeftToWorkers(declaration)
  const moves = declaration.durable && liesInLocalStorage(declaration.stored)
  const tabs = new Tabs(declaration, session)
  // What others write from now on is not in what was read early. And making a channel takes some milliseconds.
  tabs.listen()
  await loading
  const hooks: Hooks = {
    ...makeHooks(options, { touch: () => session.touch(), appended: (head) => tabs.tell(head), ended: session.ended }),
    turn: () => tabs.turns.take(),
    turnLasts: () => tabs.turns.lasts(),
    gone: (how) => session.gone(how),
    pen: takePen,
  }
  const { name, stored, adopts } = declaration
  if (adopts !== null && adopts !== declaration.scope && isOpen(name, adopts)) throw new HomingError({ code: 'blocked', message: `The database to take over ('${name}', scope '${adopts}') is open in this page: close it first.`, phase: 'open' })
  const wiped = await oneByOne(adopts === null ? [stored] : [stored, storedName(name, adopts)], openOn(session, hooks, { early, carries, options, parts }))
  tabs.start()
  session.asking.start(hooks.log)
  if (adopts !== null && adopts !== declaration.scope) forgetOpened(name, adopts)
  if (declaration.durable) await settleIn(session, tabs.pen, { moves, wiped })
}

/** What opens the engine, once; which wipe it finished first. A function of its own: what the hooks of a session see stays as long as it does. */
function openOn(
  session: Session,
  hooks: Hooks,
  { early, carries, options, parts }: { early: EarlyReading | null; carries: boolean; options: AnyOptions; parts: Parts },
): () => Promise<Wipe | undefined> {
  return async () => {
    const { declaration } = session
    const wiping = withWipes(declaration)
    const wiped = wipeOf(declaration.stored)
    if (carries) await carryOver(wiping, hooks, () => loadWasm(() => parts.source()))
    session.attach(declaration.inWorker ? await openRemote(wiping, options, hooks, parts) : await openEngine(wiping.text, hooks, early ?? undefined) as Engine)
    return wiped
  }
}

/**
 * Says where the data lies, when that is not where it should be; takes the pen where only one tab can write.
 *
 * @param found whether it came from `localStorage`, and which wipe was finished first
 */
async function settleIn(session: Session, pen: Pen, found: { readonly moves: boolean; readonly wiped: Wipe | undefined }): Promise<void> {
  const { mode, reason } = placeOf(session.open('open'))
  const { moves, wiped } = found
  if (mode === 'indexeddb') forgetWipe(session.declaration.stored, wiped)
  if (mode === 'localstorage') await pen.take()
  if (mode !== 'indexeddb') session.room.found({ mode, durable: mode !== 'memory', reason })
  if (mode !== 'memory') remember(session, mode, moves)
}

/** Where the data lies, and why there. */
function placeOf(engine: Engine): { readonly mode: Status['storage']['mode']; readonly reason: string | null } {
  return JSON.parse(engine.storage()) as ReturnType<typeof placeOf>
}

/** A database that was here before and is new now was deleted by the browser, unless it lay elsewhere. */
function remember(session: Session, mode: Status['storage']['mode'], moves: boolean): void {
  const { name, scope } = session
  if (mode === 'indexeddb' && !moves && session.engine?.isNew() === true && openedBefore().some((one) => one.name === name && one.scope === scope)) {
    session.room.found({ reason: 'The browser has deleted this database since it was opened last. What the server has is fetched again.' }, true)
  }
  noteOpened(name, scope)
}

/** One user less; the last one closes the engine. */
async function release(shared: Opened): Promise<void> {
  if (--shared.users > 0) return
  // What deletes it closes it, too, and may not be disturbed. Where that is refused somebody may use it again who waited for the same.
  while (shared.wiping !== null) await shared.wiping.catch(() => {})
  if (shared.users > 0) return
  await (shared.closing ??= finish(shared, async (engine) => {
    await engine.durable()
    await engine.close()
  }))
}

/** Deletes everything; all users of the page lose it. From the call on, who opens waits. */
function wipe(shared: Opened, discardPending: boolean): Promise<void> {
  const wiping = destroy(shared, discardPending, shared.wiping).finally(() => {
    if (shared.wiping === wiping) shared.wiping = null
  })
  return shared.wiping = wiping
}

async function destroy(shared: Opened, discardPending: boolean, before: Promise<void> | null): Promise<void> {
  await before?.catch(() => {})
  const session = await shared.ready
  const engine = session.open('close')
  const { stored, durable, syncs } = shared.declaration
  // Without a server nothing is waiting for one.
  const discard = discardPending || !syncs
  const reached = !durable || placeOf(engine).mode === 'indexeddb'
  // A refusal (`pending-work`) leaves the database open.
  try {
    // An engine that fails in the middle never answers.
    const work = (): Promise<void> => Promise.race([engine.destroy(discard), crashed(session)])
    await (reached ? work() : wipeAll(stored, discard, work))
  } catch (thrown) {
    throw session.failure(thrown, 'close')
  }
  forgetOpened(shared.declaration.name, shared.declaration.scope)
  await (shared.closing ??= finish(shared, async () => {}))
}

/** Rejects when the session ends by itself. */
function crashed({ ended: { signal } }: Session): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(closedError('close')), { once: true }))
}

/** Whether this page has it open. */
export function isOpen(name: string, scope: string): boolean {
  return opened.has(keyOf({ name, scope }))
}

async function finish(shared: Opened, close: (engine: Engine) => Promise<void>): Promise<void> {
  const session = await shared.ready.catch(() => null)
  const engine = session?.engine ?? null
  try {
    if (engine !== null) await close(engine)
  } catch (thrown) {
    throw toHomingError(thrown, 'close')
  } finally {
    session?.end()
    forget(shared)
    // It cannot be freed while a call waits in it: for a function of the app that has not answered yet, for one.
    void session?.quiet().then(() => engine?.free())
  }
}

function forget(shared: Opened): void {
  const key = keyOf(shared.declaration)
  if (opened.get(key) === shared) opened.delete(key)
}

function keyOf({ name, scope }: { readonly name: string; readonly scope: string }): string {
  return JSON.stringify([name, scope])
}
