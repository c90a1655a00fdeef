// Document mode of one open database: the trees a page has exported and what it had seen by each. Not here: how any of it is
// done; the files beside this one.

import { HomingError } from '../errors.js'
import type { Session } from '../session.js'
import type { ImportReport, Options, SaveReport } from '../types.js'
import { isObject, type Members } from '../values.js'
import { exportTree } from './exporting.js'
import { importTree, readLocalStorage } from './importing.js'
import { copyTree, split } from './mapping.js'
import { refreshTree } from './refresh.js'
import { planSave } from './save.js'
import { Baseline, Store } from './store.js'

export class Documents {
  readonly #session: Session
  /** What was seen by each tree. A tree that is none of ours (a clone) goes by what was seen last. */
  readonly #baselines = new WeakMap<object, Baseline>()
  #last: Baseline | null = null

  constructor(session: Session) {
    this.#session = session
  }

  async export(reserved: boolean): Promise<Members> {
    this.#session.open('apply')
    await this.#session.lazy.loadAll()
    const { tree, baseline } = exportTree(this.#session, reserved)
    this.#remember(tree, baseline)
    return tree
  }

  async save(tree: object, options: Options & { only?: readonly string[]; deletions?: boolean }): Promise<SaveReport> {
    const { signal, onProgress, only, deletions = true } = options
    this.#session.open('write')
    this.#session.checkSignal(signal, 'write')
    const whole = this.#session.lazy.loadAll()
    // The app may go on with its tree.
    const given = whole === null ? tree : copyTree(tree)
    if (whole !== null) await whole
    const store = new Store(this.#session)
    const parts = split(given, store, only)
    const known = this.#baselines.get(tree) ?? this.#last
    const baseline = known ?? new Baseline()
    const plan = planSave(store, parts, known, baseline, { only, deletions })
    const durable = plan.run()
    this.#remember(tree, baseline)
    const { inserted, updated, deleted, unchanged, archived } = plan
    const done = inserted + updated + deleted
    if (onProgress !== undefined) this.#session.later(() => onProgress({ phase: 'saving', done: 0, total: done }))
    await durable
    if (onProgress !== undefined) this.#session.later(() => onProgress({ phase: 'durable', done, total: done }))
    return { inserted, updated, deleted, unchanged, archived, settled: durable.settled }
  }

  refresh(tree: object): readonly string[] {
    if (!isObject(tree) || this.#session.engine === null) return []
    this.#session.lazy.needAll('apply')
    const known = this.#baselines.get(tree) ?? this.#last
    const baseline = known ?? new Baseline()
    const changed = refreshTree(new Store(this.#session), tree, baseline, known === null)
    this.#remember(tree, baseline)
    return Object.freeze(changed)
  }

  async import(tree: object, options: Options): Promise<ImportReport> {
    const whole = this.#session.lazy.loadAll()
    if (whole === null) return importTree(new Store(this.#session), tree, options)
    const given = copyTree(tree)
    await whole
    return importTree(new Store(this.#session), given, options)
  }

  importLocalStorage(options: Options & { key: string }): Promise<ImportReport> {
    if (typeof options?.key !== 'string') throw new HomingError({ code: 'invalid-record', message: 'importLocalStorage needs a key.', phase: 'write', path: '/key' })
    return this.import(readLocalStorage(options.key), options)
  }

  #remember(tree: object, baseline: Baseline): void {
    this.#baselines.set(tree, baseline)
    this.#last = baseline
  }
}
