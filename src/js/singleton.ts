// A single record as the app sees it. It is a collection with one record of a fixed id.

import { RecordCollection } from './collection.js'
import { HomingError } from './errors.js'
import type { AnyRow } from './query.js'
import type { RecordState, Singleton, Write } from './types.js'
import { isObject, SINGLETON, type Members } from './values.js'
import { refuse } from './writes.js'

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
    try {
      return this.#collection.put(asSingleton(value))
    } catch (error) {
      // A getter of the caller failed.
      return refuse(new HomingError({ code: 'invalid-record', message: 'Reading the value failed.', phase: 'write', path: '', cause: error }), SINGLETON)
    }
  }

  update(change: object | ((value: AnyRow) => object)): Write<AnyRow> {
    return this.#collection.update(SINGLETON, change)
  }

  state(): RecordState {
    return this.#collection.state(SINGLETON)
  }
}

/** The value under the one id; what is no record goes on as it is, to be refused with its reason. */
export function asSingleton(value: unknown): Members {
  if (!isObject(value)) return value as Members
  const proto: unknown = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null ? { ...value, id: SINGLETON } : value
}
