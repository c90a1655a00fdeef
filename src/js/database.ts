// An open database as the app holds it: names to collections, documents, sync and the end. Several of them can share one
// session. Not here: how it is opened and counted (`opening.ts`).

import { runBatch } from './batch.js'
import { RecordCollection } from './collection.js'
import { Documents } from './document/documents.js'
import type { Engine } from './engine.js'
import { abortError, closedError, toHomingError } from './errors.js'
import { readMetrics } from './metrics.js'
import type { Session } from './session.js'
import { SingleRecord } from './singleton.js'
import type { Batch, Database, EventMap, ImportReport, Metrics, Observable, Options, SaveReport, Status, SyncReport, Verdict } from './types.js'
import { freeze, type Members } from './values.js'

type AnySchema = { [name: string]: Members }
type Listener<K extends keyof EventMap> = (event: CustomEvent<EventMap[K]>) => void

export class LocalDatabase implements Omit<Database<AnySchema>, typeof Symbol.asyncDispose> {
  readonly name: string
  readonly scope: string
  readonly clientId: string
  readonly status: Observable<Status>
  readonly queue: Database<AnySchema>['queue']
  readonly deadLetters: Database<AnySchema>['deadLetters']
  readonly conflicts: Database<AnySchema>['conflicts']
  readonly #session: Session
  readonly #documents: Documents
  readonly #collections = new Map<string, RecordCollection>()
  readonly #singletons = new Map<string, SingleRecord>()
  readonly #release: () => Promise<void>
  readonly #wipe: (discardPending: boolean) => Promise<void>
  #closing: Promise<void> | null = null

  constructor(session: Session, release: () => Promise<void>, wipe: (discardPending: boolean) => Promise<void>) {
    this.#session = session
    this.#documents = new Documents(session)
    this.#release = release
    this.#wipe = wipe
    this.name = session.name
    this.scope = session.scope
    this.clientId = session.clientId
    this.status = session.status
    this.queue = session.reports.queue
    this.deadLetters = session.reports.deadLetters
    this.conflicts = session.reports.conflicts
    // Older browsers have no such symbol.
    if (typeof Symbol.asyncDispose === 'symbol') Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.close() })
  }

  collection(name: string): RecordCollection {
    const key = String(name)
    let collection = this.#collections.get(key)
    if (collection === undefined) this.#collections.set(key, collection = new RecordCollection(this.#session, this.#session.rows(key)))
    return collection
  }

  singleton(name: string): SingleRecord {
    const key = String(name)
    let single = this.#singletons.get(key)
    if (single === undefined) this.#singletons.set(key, single = new SingleRecord(this.collection(key)))
    return single
  }

  batch<R>(work: (tx: Batch<AnySchema>) => R, options?: { atomic?: boolean }): Promise<R> & { readonly settled: Promise<readonly Verdict[]> } {
    return runBatch(this.#session, work, options?.atomic === true)
  }

  async exportDocument<D extends object>(options?: { reserved?: boolean }): Promise<D> {
    return await this.#documents.export(options?.reserved === true) as D
  }

  // Not async: the tree is read during the call, so the app may change it right after.
  saveDocument(tree: object, options?: Options & { only?: readonly string[]; deletions?: boolean }): Promise<SaveReport> {
    return this.#promised(() => this.#documents.save(tree, options ?? {}))
  }

  refreshDocument(tree: object): readonly string[] {
    return this.#documents.refresh(tree)
  }

  importLocalStorage(options: Options & { key: string }): Promise<ImportReport> {
    return this.#promised(() => this.#documents.importLocalStorage(options))
  }

  importDocument(tree: object, options?: Options): Promise<ImportReport> {
    return this.#promised(() => this.#documents.import(tree, options ?? {}))
  }

  async sync(options?: Options & { full?: boolean }): Promise<SyncReport> {
    const engine = this.#session.open('push')
    const { signal, onProgress } = options ?? {}
    this.#session.checkSignal(signal, 'push')
    const stop = onProgress === undefined ? () => {} : this.#followProgress(onProgress)
    try {
      return await abortable(this.#cycle(engine, options?.full === true), signal)
    } finally {
      stop()
    }
  }

  metrics(): Metrics {
    return readMetrics(this.#session.engine, this.name)
  }

  requestPersistence(): Promise<boolean> {
    return this.#session.room.persist()
  }

  pause(): void {
    this.#tell((engine) => engine.pause())
  }

  resume(): void {
    this.#tell((engine) => engine.resume())
  }

  addEventListener<K extends keyof EventMap>(type: K, listener: Listener<K>, options?: { signal?: AbortSignal; once?: boolean }): void {
    this.#session.events.addEventListener(type, listener as EventListener, options)
  }

  removeEventListener<K extends keyof EventMap>(type: K, listener: Listener<K>): void {
    this.#session.events.removeEventListener(type, listener as EventListener)
  }

  close(): Promise<void> {
    return this.#closing ??= this.#release()
  }

  async wipe(options?: { discardPending?: boolean }): Promise<void> {
    if (this.#closing !== null) throw closedError('close')
    await this.#wipe(options?.discardPending === true)
    this.#closing = Promise.resolve()
  }

  async #cycle(engine: Engine, full: boolean): Promise<SyncReport> {
    try {
      return freeze(JSON.parse(await this.#untilEnd(this.#session.during(engine.sync(JSON.stringify({ full }))))) as SyncReport)
    } catch (thrown) {
      throw this.#session.failure(thrown, 'push')
    }
  }

  /** An engine that has crashed answers nothing any more. */
  #untilEnd<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#session.ended
    return new Promise<T>((resolve, reject) => {
      const end = (): void => reject(closedError('push'))
      signal.addEventListener('abort', end, { once: true })
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end)).catch(() => {})
    })
  }

  #followProgress(onProgress: NonNullable<Options['onProgress']>): () => void {
    let last: Status['progress'] = null
    return this.status.subscribe(() => {
      const { progress } = this.status.getSnapshot()
      if (progress !== null && progress !== last) onProgress(progress)
      last = progress
    })
  }

  #tell(call: (engine: Engine) => void): void {
    const { engine } = this.#session
    if (engine === null) return
    try {
      call(engine)
    } catch (thrown) {
      this.#session.dispatch('error', this.#session.failure(thrown, 'push'))
    }
    this.#session.touch()
  }

  #promised<R>(call: () => Promise<R>): Promise<R> {
    try {
      return call().catch((error: unknown) => {
        throw toHomingError(error, 'write')
      })
    } catch (error) {
      return Promise.reject(toHomingError(error, 'write'))
    }
  }
}

/** The cycle is shared, so an abort only stops waiting for it. */
function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(abortError(signal, 'push'))
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort)).catch(() => {})
  })
}
