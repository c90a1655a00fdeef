// A single record as the app sees it. It is a collection with one record of a fixed id.

import { RecordCollection } from './collection.js'
import type { AnyRow } from './query.js'
import type { RecordState, Singleton, Write } from './types.js'
import { SINGLETON, type Members } from './values.js'

export class SingleRecord implements Singleton<Members> {
  readonly subscribe: Singleton<Members>['subscribe']
  readonly getSnapshot: () => AnyRow | undefined
  readonly getServerSnapshot: () => AnyRow | undefined
  readonly #collection: RecordCollection

  constructor(collection: RecordCollection) {
    this.#collection = collection
    const record = collection.record(SINGLETON)
    this.subscribe = record.subscribe
    this.getSnapshot = record.getSnapshot
    this.getServerSnapshot = record.getServerSnapshot
  }

  get(): AnyRow | undefined {
    return this.#collection.get(SINGLETON)
  }

  set(value: object): Write<AnyRow> {
    return this.#collection.setSingleton(value)
  }

  update(change: object | ((value: AnyRow) => object)): Write<AnyRow> {
    return this.#collection.update(SINGLETON, change)
  }

  state(): RecordState {
    return this.#collection.state(SINGLETON)
  }
}
