// A batch as text taken apart: which records it touches and how, and the ids its records get. Pure, apart from where new ids come
// from. Not here: showing it (`remote.ts`), planning it (the worker).

import type { ImportCounts, OpResult } from '../engine.js'
import { OPTIMISTIC_PREFIX, apart, sameShared, type Members } from '../values.js'
import { rowId } from './digest.js'
import { NOTHING_LOCAL, type Local, type LocalOf, type Step } from './provisional.js'
import { valueOf, type Slot } from './slot.js'

/** An operation as `operations.ts` writes it, its records with it. */
interface Operation {
  readonly op: string
  readonly collection: string
  readonly id?: string
  readonly record?: Members
  readonly records?: readonly Members[]
  readonly set?: Members
  readonly unset?: readonly string[]
  readonly idless?: boolean
  readonly base?: string
  readonly own?: readonly string[]
}

/** A batch taken apart. `mayName`: there may be ids in it in whose place the server has given others. */
export interface Batch { readonly ops: readonly Operation[]; readonly idempotencyKey?: string; readonly mayName?: boolean }

/** A batch from its text: the line of heads says how many of the lines below are the records of each operation. */
export function parseBatch(text: string): Batch {
  const [head = '', ...lines] = text.split('\n')
  const batch = JSON.parse(head) as Omit<Batch, 'ops'> & { readonly ops: readonly (Operation & { readonly lines?: number })[] }
  let from = 0
  const ops = batch.ops.map(({ lines: count = 0, ...operation }): Operation => {
    if (count === 0) return operation
    from += count
    return { ...operation, records: JSON.parse(`[${lines.slice(from - count, from).join()}]`) as Members[] }
  })
  return { ...batch, ops, mayName: text.includes(OPTIMISTIC_PREFIX) }
}

/** One record that a batch touches. */
export interface Touched { readonly collection: string; readonly id: string; readonly step: Step }

export interface Understood extends ImportCounts {
  readonly touched: readonly Touched[]
  readonly results: readonly OpResult[]
  /** Whether all of it are new rows, so that the worker can say in a word that they became what was shown. */
  readonly isNew: boolean
}

/**
 * @param newId the id of a new record that came without one, in their order; null: of a row that has none of its own
 * @param there the record that is there, or its tombstone
 * @param localOf the members of a collection that never leave the device
 * @param setsOf those that are sets
 * @param currentId the id that a record has now
 */
export function understand(batch: Batch, newId: (collection: string | null) => string, there: (collection: string, id: string) => Slot | undefined, localOf: LocalOf = () => NOTHING_LOCAL, setsOf: (collection: string) => readonly string[] = () => [], currentId: (id: string) => string = (id) => id): Understood {
  const touched: Touched[] = []
  const results: OpResult[] = []
  const counts = { inserted: 0, unchanged: 0, archived: 0, duplicateIds: 0 }
  for (const operation of batch.ops) {
    const { op, collection, id, record, records = [], set = {}, unset = [] } = operation
    const ids: string[] = []
    if (op === 'insert') {
      for (const one of records) {
        const given = one['id']
        const name = typeof given === 'string' ? given : newId(operation.idless === true ? null : collection)
        ids.push(name)
        touched.push({ collection, id: name, step: { op, record: one } })
      }
    } else if (op === 'import') {
      const rows = batch.mayName === true ? records.map((one) => underCurrentIds(one, currentId) as Members) : records
      const named = importedIds(collection, rows, localOf(collection))
      counts.duplicateIds += named.filter(({ again }) => again).length
      for (const { id: name, record: one } of named) {
        ids.push(name)
        const row = there(collection, name)
        counts[row === undefined ? 'inserted' : saysTheSame(one, row, localOf(collection), setsOf(collection)) ? 'unchanged' : 'archived']++
        touched.push({ collection, id: name, step: { op, record: one } })
      }
    } else if (op === 'put' && record !== undefined) {
      ids.push(String(record['id']))
      // A stamp that nobody can read says of no version that it was read.
      const said = operation.own ?? (Number.isNaN(Date.parse(operation.base ?? '')) ? 'all' : 'some')
      touched.push({ collection, id: String(record['id']), step: { op, record, said } })
    } else if (id !== undefined) {
      ids.push(id)
      touched.push({ collection, id, step: op === 'update' ? { op, set, unset } : { op: op === 'undelete' ? op : 'delete' } })
    }
    results.push({ ids })
  }
  return { touched, results, ...counts, isNew: batch.ops.every(({ op }) => op === 'insert' || op === 'import') }
}

/** Whether an imported row brings nothing new that others could know; of a tombstone its last content counts. */
function saysTheSame(record: Members, row: Slot, local: Local, sets: readonly string[]): boolean {
  return sameShared(record, valueOf(row), local, sets)
}

/** What is imported says old ids and means the records of today, as for the engine (`src/core/plan/aliases.rs`): else it would differ from them. */
function underCurrentIds(value: unknown, currentId: (id: string) => string): unknown {
  if (typeof value === 'string') return value.startsWith(OPTIMISTIC_PREFIX) ? currentId(value) : value
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => underCurrentIds(item, currentId))
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, underCurrentIds(member, currentId)]))
}

/** The ids of an import: as given, with a mark where one comes again, of the content that everybody may know where there is none. */
function importedIds(collection: string, records: readonly Members[], local: Local): { readonly id: string; readonly record: Members; readonly again: boolean }[] {
  const contents = new Map<string, number>()
  const times = new Map<string, number>()
  return records.map((record) => {
    const given = record['id']
    if (typeof given !== 'string') return { id: rowId(collection, apart(record, local)[0], contents), record, again: false }
    const n = (times.get(given) ?? 0) + 1
    times.set(given, n)
    return n === 1 ? { id: given, record, again: false } : { id: `$dup_${n}_${given}`, record: { _sourceId: given, ...record }, again: true }
  })
}
