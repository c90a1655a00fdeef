// Operations as the engine takes them: JSON text, made from validated values. Every function here throws `HomingError` for bad
// input; the callers turn that into a rejected promise. Not here: sending them (`session.ts`).

import { HomingError } from './errors.js'
import type { AnyRow } from './query.js'
import type { WriteOptions } from './types.js'
import { checkId, checkNewId, checkedRecord, checkedRecords, copiedRecords, encodeRecord } from './validate.js'
import { SINGLETON, isObject, isReserved, type Members } from './values.js'

/** The version that the caller saw. */
export interface Base { readonly _updatedAt: string; readonly _rev?: number }

function baseText(base: Base | undefined): string {
  if (base === undefined) return ''
  const rev = base._rev === undefined ? '' : `,"baseRev":${base._rev}`
  return `,"base":${JSON.stringify(base._updatedAt)}${rev}`
}

/** Texts of records, one per line, and how many there are. */
export interface Lines { readonly text: string; readonly count: number }

/** The texts of these records as lines. */
export function linesOf(texts: readonly string[]): Lines {
  return { text: texts.join('\n'), count: texts.length }
}

/** New records whose text is ready: the head of the operation, then they. */
export function insertText(collection: string, records: Lines, idless = false): string {
  return withLines(`{"op":"insert","collection":${JSON.stringify(collection)},"lines":${records.count}${idless ? ',"idless":true' : ''}}`, records)
}

function withLines(head: string, { text, count }: Lines): string {
  return count === 0 ? head : `${head}\n${text}`
}

/** New records as an operation. */
export interface Insertion {
  readonly text: string
  /** The records as they will be shown, but for their stamps; null where only the engine knows. */
  readonly made: readonly Made[] | null
}

/** A record about to be shown: the copy is ours. */
export interface Made extends Members { readonly id: string }

/** One new record. */
export function insertOperation(collection: string, record: unknown, idless: boolean): Insertion {
  // Before the walk: of a record that has both, the id is what is named.
  const id = readId(record)
  if (id !== undefined) checkNewId(id)
  const { text, copy } = checkedRecord(record)
  const own = copy['_sourceId'] === undefined ? text : checkedRecord(withoutSource(copy)).text
  return { text: insertText(collection, { text: own, count: 1 }, idless && copy['id'] === undefined), made: shown([copy]) }
}

/** Many new records: one walk, one text. */
export function insertManyOperation(collection: string, records: readonly unknown[]): Insertion {
  const { text, copy } = checkedRecords(records)
  checkNewIds(copy)
  const copied = copy.some(({ _sourceId: source }) => source !== undefined)
  const own = copied ? checkedRecords(copy.map(withoutSource)).text : text
  return { text: insertText(collection, { text: own, count: copy.length }), made: shown(copy) }
}

/** The same without text; null where only the engine knows how they will be shown. */
export function insertableRecords(records: readonly unknown[]): readonly Made[] | null {
  const copy = copiedRecords(records)
  checkNewIds(copy)
  return shown(copy)
}

/** An insert as a batch without its lines. */
export function insertHead(collection: string, count: number): string {
  return batchText([insertText(collection, { text: '', count })]).trimEnd()
}

function checkNewIds(records: readonly Members[]): void {
  for (let at = 0; at < records.length; at++) {
    const { id } = records[at] as Members
    if (id !== undefined) checkNewId(id, `/${at}/id`)
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
export function putOperation(collection: string, record: unknown): { text: string; id: string } {
  const id = readId(record)
  // Rows that got their id from us may be put back; nobody else may use such names.
  if (isObject(record) && !(typeof id === 'string' && OURS.test(id))) checkNewId(id)
  const text = encodeRecord(record)
  return { id: id as string, text: putText(collection, text, baseOf(record as Members)) }
}

/** The one record of a singleton. */
export function setOperation(collection: string, value: unknown): string {
  encodeRecord(value) // as it is: the copy below would hide a class instance
  const record = { ...value as Members, id: SINGLETON }
  return putText(collection, encodeRecord(record), baseOf(record))
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

/** A whole record whose text is ready. */
export function putText(collection: string, record: string, base: Base | undefined): string {
  return `{"op":"put","collection":${JSON.stringify(collection)},"record":${record}${baseText(base)}}`
}

/** Some fields: `undefined` removes, Homing's own members are ignored. */
export function updateOperation(collection: string, id: string, patch: unknown, base?: Base): string {
  if (!isObject(patch)) throw new HomingError({ code: 'invalid-record', message: 'A change is a plain object of fields.', phase: 'write', path: '' })
  if (patch['id'] !== undefined && patch['id'] !== id) throw new HomingError({ code: 'invalid-id', message: 'An update cannot change the id.', phase: 'write', path: '/id' })
  encodeRecord(patch)
  const set: Members = {}
  const unset: string[] = []
  for (const name of Object.keys(patch)) {
    if (isReserved(name)) continue
    if (patch[name] === undefined) unset.push(name)
    else set[name] = patch[name]
  }
  return `{"op":"update",${target(collection, id)},"set":${JSON.stringify(set)},"unset":${JSON.stringify(unset)}${baseText(base)}}`
}

/** A tombstone, or the way back. */
export function deleteOperation(op: 'delete' | 'undelete', collection: string, id: unknown, base?: Base): string {
  checkId(id)
  return `{"op":"${op}",${target(collection, id)}${baseText(base)}}`
}

/** Rows of a document whose text is ready. */
export function importText(collection: string, records: Lines): string {
  return withLines(`{"op":"import","collection":${JSON.stringify(collection)},"lines":${records.count}}`, records)
}

function target(collection: string, id: string): string {
  checkId(id)
  return `"collection":${JSON.stringify(collection)},"id":${JSON.stringify(id)}`
}

/** Operations and options as one call: a line with the heads of the operations, then the lines of their records. */
export function batchText(operations: readonly string[], options: WriteOptions & { atomic?: boolean } = {}): string {
  const extras = [
    options.atomic === true ? ',"atomic":true' : '',
    options.idempotencyKey !== undefined ? `,"idempotencyKey":${JSON.stringify(String(options.idempotencyKey))}` : '',
    options.dependsOn !== undefined && options.dependsOn.length > 0 ? `,"dependsOn":${JSON.stringify(options.dependsOn)}` : '',
  ].join('')
  const heads: string[] = []
  let lines = ''
  for (const operation of operations) {
    const end = operation.indexOf('\n')
    heads.push(end < 0 ? operation : operation.slice(0, end))
    if (end >= 0) lines += operation.slice(end)
  }
  return `{"ops":[${heads.join()}]${extras}}${lines}`
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
