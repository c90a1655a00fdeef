// Operations as the engine takes them: lines of JSON, made from validated values. Every function here throws `HomingError` for bad
// input; the callers turn that into a rejected promise. Not here: sending them (`session.ts`), making bytes of them (`utf8.ts`).

import { HomingError } from './errors.js'
import type { AnyRow } from './query.js'
import type { WriteOptions } from './types.js'
import { checkId, checkNewId, checkedRecord, checkedRecords, copiedRecords, encodeRecord, type Checked } from './validate.js'
import { SINGLETON, isObject, isReserved, type Members } from './values.js'

/** The version that the caller saw. */
export interface Base { readonly _updatedAt: string; readonly _rev?: number }

function baseText(base: Base | undefined): string {
  if (base === undefined) return ''
  const rev = base._rev === undefined ? '' : `,"baseRev":${base._rev}`
  return `,"base":${JSON.stringify(base._updatedAt)}${rev}`
}

/** One operation: what it is, and the texts of its new records. Thousands of them are never made one text: that costs a copy each time. */
export interface Operation { readonly head: string; readonly records: readonly string[] }

const NO_RECORDS: readonly string[] = []

/** New records whose texts are ready. */
export function insertion(collection: string, records: readonly string[], idless = false): Operation {
  return { head: insertHead(collection, records.length, idless), records }
}

function insertHead(collection: string, count: number, idless = false): string {
  return `{"op":"insert","collection":${JSON.stringify(collection)},"lines":${count}${idless ? ',"idless":true' : ''}}`
}

/** New records as an operation. */
export interface Insertion {
  readonly operation: Operation
  /** The records as they will be shown, but for their stamps; null where only the engine knows. */
  readonly made: readonly Made[] | null
}

/** A record about to be shown: the copy is ours. */
export interface Made extends Members { readonly id: string }

/** One new record. */
export function insertOperation(collection: string, record: unknown, idless: boolean): Insertion {
  const { text, copy } = newRecord(record)
  const own = copy['_sourceId'] === undefined ? text : checkedRecord(withoutSource(copy)).text
  return { operation: insertion(collection, [own], idless && copy['id'] === undefined), made: shown([copy]) }
}

/** One new record that others may name before it is written: where it has no id, it gets one here. */
export function namedInsertOperation(collection: string, record: unknown, newId: () => string): { readonly operation: Operation; readonly made: Made } {
  const { copy } = newRecord(record)
  const made: Made = { ...withoutSource(copy), id: typeof copy['id'] === 'string' ? copy['id'] : newId() }
  return { operation: insertion(collection, [JSON.stringify(made)]), made }
}

function newRecord(record: unknown): Checked<Members> {
  // Before the walk: of a record that has both, the id is what is named.
  const id = readId(record)
  if (id !== undefined) checkNewId(id)
  return checkedRecord(record)
}

/** Many new records: one walk. */
export function insertManyOperation(collection: string, records: readonly unknown[]): Insertion {
  const { text, copy } = checkedRecords(records)
  checkNewIds(copy)
  const copied = copy.some(({ _sourceId: source }) => source !== undefined)
  const own = copied ? checkedRecords(copy.map(withoutSource)).text : text
  return { operation: insertion(collection, own), made: shown(copy) }
}

/** The same without text; null where only the engine knows how they will be shown. */
export function insertableRecords(records: readonly unknown[]): readonly Made[] | null {
  const copy = copiedRecords(records)
  checkNewIds(copy)
  return shown(copy)
}

/** The head of a batch that inserts so many records, whose lines come by another way. */
export function insertBatchHead(collection: string, count: number): string {
  return batchHead([insertHead(collection, count)])
}

function checkNewIds(records: readonly Members[]): void {
  for (let at = 0; at < records.length; at++) {
    const { id } = records[at] as Members
    if (id !== undefined) checkNewId(id, at)
  }
}

/** A copied row is a row of its own. */
function withoutSource(record: Members): Members {
  return { ...record, _sourceId: undefined }
}

/** As the engine writes rows: the id first, then the members in their order, its own at the end. */
function shown(records: Members[]): readonly Made[] | null {
  for (let at = 0; at < records.length; at++) {
    const record = records[at] as Members
    if (typeof record['id'] !== 'string') return null
    let first = true
    for (const name in record) {
      // It may be one that Homing owns.
      if (name.charCodeAt(0) === 95) return null
      if (first && name !== 'id') records[at] = { id: record['id'], ...record }
      first = false
    }
  }
  return records as Made[]
}

/** A whole record. Where it says which version it was made from, that is its base. */
export function putOperation(collection: string, record: unknown): { operation: Operation; id: string } {
  const id = readId(record)
  // Rows that got their id from us may be put back; nobody else may use such names.
  if (isObject(record) && !(typeof id === 'string' && OURS.test(id))) checkNewId(id)
  const text = encodeRecord(record)
  return { id: id as string, operation: put(collection, text, baseOf(record as Members)) }
}

/** The one record of a singleton. */
export function setOperation(collection: string, value: unknown): Operation {
  encodeRecord(value) // as it is: the copy below would hide a class instance
  const record = { ...value as Members, id: SINGLETON }
  return put(collection, encodeRecord(record), baseOf(record))
}

const OURS = /^\$(?:row|dup)_/

/** The id a record says it has; a getter of the caller may fail, and of a revoked proxy nothing can be asked at all. */
function readId(record: unknown): unknown {
  try {
    return isObject(record) ? record['id'] : undefined
  } catch (error) {
    throw new HomingError({ code: 'invalid-record', message: 'Reading the record failed (at /id).', phase: 'write', path: '/id', cause: error })
  }
}

/** The version a record says it was made from. */
export function baseOf(record: Members): Base | undefined {
  const { _updatedAt: at, _rev: rev } = record
  if (typeof at !== 'string') return undefined
  return Number.isSafeInteger(rev) ? { _updatedAt: at, _rev: rev as number } : { _updatedAt: at }
}

/**
 * A whole record whose text is ready.
 *
 * @param own which of the members that never leave the device it changes or lacks on purpose, where that is known
 */
export function put(collection: string, record: string, base: Base | undefined, own?: readonly string[]): Operation {
  const changed = own === undefined ? '' : `,"own":${JSON.stringify(own)}`
  return { head: `{"op":"put","collection":${JSON.stringify(collection)},"record":${record}${baseText(base)}${changed}}`, records: NO_RECORDS }
}

/**
 * Some fields: `undefined` removes, Homing's own members are ignored.
 *
 * @param now the id the record has now, where the server has replaced the one given
 */
export function updateOperation(collection: string, id: string, patch: unknown, base?: Base, now = id): Operation {
  if (!isObject(patch)) throw new HomingError({ code: 'invalid-record', message: 'A change is a plain object of fields.', phase: 'write', path: '' })
  if (patch['id'] !== undefined && patch['id'] !== id && patch['id'] !== now) throw new HomingError({ code: 'invalid-id', message: 'An update cannot change the id.', phase: 'write', path: '/id' })
  encodeRecord(patch)
  const set: Members = {}
  const unset: string[] = []
  for (const name of Object.keys(patch)) {
    if (isReserved(name)) continue
    if (patch[name] === undefined) unset.push(name)
    else set[name] = patch[name]
  }
  return { head: `{"op":"update",${target(collection, id)},"set":${JSON.stringify(set)},"unset":${JSON.stringify(unset)}${baseText(base)}}`, records: NO_RECORDS }
}

/** A tombstone, or the way back. */
export function deleteOperation(op: 'delete' | 'undelete', collection: string, id: unknown, base?: Base): Operation {
  checkId(id)
  return { head: `{"op":"${op}",${target(collection, id)}${baseText(base)}}`, records: NO_RECORDS }
}

/** Rows of a document whose text is ready. */
export function importation(collection: string, records: readonly string[]): Operation {
  return { head: `{"op":"import","collection":${JSON.stringify(collection)},"lines":${records.length}}`, records }
}

function target(collection: string, id: string): string {
  checkId(id)
  return `"collection":${JSON.stringify(collection)},"id":${JSON.stringify(id)}`
}

/** Operations and options as the lines of one call: the heads of the operations, then their records. */
export function batchLines(operations: readonly Operation[], options: WriteOptions & { atomic?: boolean } = {}): readonly string[] {
  return [batchHead(operations.map(({ head }) => head), options), ...operations.flatMap(({ records }) => records)]
}

function batchHead(heads: readonly string[], options: WriteOptions & { atomic?: boolean } = {}): string {
  const extras = [
    options.atomic === true ? ',"atomic":true' : '',
    options.idempotencyKey !== undefined ? `,"idempotencyKey":${JSON.stringify(String(options.idempotencyKey))}` : '',
    options.dependsOn !== undefined && options.dependsOn.length > 0 ? `,"dependsOn":${JSON.stringify(options.dependsOn)}` : '',
  ].join('')
  return `{"ops":[${heads.join()}]${extras}}`
}

/** What a function of the caller makes of a row; its exception becomes ours. */
export function applyChange(change: unknown, row: AnyRow | undefined, collection: string, id: string): unknown {
  if (typeof change !== 'function') return change
  if (row === undefined) throw new HomingError({ code: 'not-found', message: `${collection} has no record '${id}'.`, phase: 'write' })
  try {
    return change(row) as unknown
  } catch (error) {
    throw new HomingError({ code: 'aborted', message: 'The function given to update failed; nothing was written.', phase: 'write', cause: error })
  }
}
