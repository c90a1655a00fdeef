// What may be stored: one walk over the caller's values that names the first thing JSON would lose or change, and copies the rest;
// and the checks of ids. Pure. Not here: sizes in bytes and names of collections; the engine checks those.

import { HomingError, type ErrorCode } from './errors.js'
import { step, type Members } from './values.js'

const MAX_DEPTH = 100
/** More values than a record of the largest allowed size can hold; stops the walk over heavily shared references. */
const MAX_VALUES = 1 << 19
const MAX_ID = 128
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/
const CONTROL_OR_SURROGATE = /[\u0000-\u001f\u007f-\u009f\p{Surrogate}]/u
const LONE_SURROGATE = /\p{Surrogate}/u

/** Thrown by the walk, turned into an error with the path at its top. */
class Refusal {
  constructor(readonly why: string, readonly code: ErrorCode = 'invalid-record') {}
}

interface Walk { readonly path: (string | number)[]; depth: number; values: number; readonly surrogates: boolean }

/** What the caller gave, read once: as text, and as what `JSON.parse` would make of that, frozen but for its top. */
export interface Checked<C, T = string> { readonly text: T; readonly copy: C }

/**
 * The JSON text of a record, exactly as it will be stored.
 *
 * @param at JSON Pointer of the record in what the caller gave, for the path of the error
 * @throws HomingError `invalid-record` with the path
 * @example encodeRecord({ id: 'a', n: NaN }) // HomingError invalid-record at "/n"
 */
export function encodeRecord(record: unknown, at = ''): string {
  return checkedRecord(record, at).text
}

/**
 * The same with a copy of the record.
 *
 * @throws HomingError `invalid-record` with the path
 */
export function checkedRecord(record: unknown, at = ''): Checked<Members> {
  return checked(record, at, checkRecord, JSON.stringify, isSuspicious)
}

/**
 * The JSON texts of an array of records (JSON.stringify writes no line ends), and copies: one walk.
 *
 * @throws HomingError `invalid-record`, its path starts with the index
 */
export function checkedRecords(records: readonly unknown[], at = ''): Checked<Members[], readonly string[]> {
  return checked(records, at, checkRecords, (copies) => copies.map((copy) => JSON.stringify(copy)), (texts) => texts.some(isSuspicious))
}

/**
 * The copies alone, for a caller that writes the texts itself and has `checkTexts` look at them.
 *
 * @throws HomingError `invalid-record`, its path starts with the index
 */
export function copiedRecords(records: readonly unknown[]): Members[] {
  return run(records, '', checkRecords, () => '', false).copy
}

/**
 * Whether texts of records say what is in them.
 *
 * @param records the same, for the path of the error
 * @param first the index of the first
 * @throws HomingError `invalid-record`, its path starts with the index
 */
export function checkTexts(texts: string, records: readonly unknown[], first: number): void {
  if (isSuspicious(texts)) records.forEach((record, at) => run(record, `/${first + at}`, checkRecord, () => '', true))
}

/**
 * The JSON text of any value.
 *
 * @throws HomingError `invalid-record` with the path
 */
export function encodeValue(value: unknown, at = ''): string {
  return checked(value, at, checkValue, JSON.stringify, isSuspicious).text
}

function checked<V, C, T>(value: V, at: string, check: (value: V, walk: Walk) => C, write: (copy: C) => T, suspicious: (text: T) => boolean): Checked<C, T> {
  const found = run(value, at, check, write, false)
  return suspicious(found.text) ? run(value, at, check, write, true) : found
}

/** JSON.stringify escapes lone surrogates, and only those, like this: a second walk finds out where, if there is one. */
function isSuspicious(text: string): boolean {
  return text.includes('\\ud')
}

function run<V, C, T>(value: V, at: string, check: (value: V, walk: Walk) => C, write: (copy: C) => T, surrogates: boolean): Checked<C, T> {
  const walk: Walk = { path: [], depth: 0, values: 0, surrogates }
  try {
    const copy = check(value, walk)
    return { text: write(copy), copy }
  } catch (error) {
    const path = at + walk.path.slice(0, walk.depth).map(step).join('')
    if (error instanceof Refusal) throw new HomingError({ code: error.code, message: `${error.why}${path === '' ? '' : ` (at ${path})`}.`, phase: 'write', path })
    // A getter or a proxy of the caller threw.
    throw new HomingError({ code: 'invalid-record', message: `Reading the record failed (at ${path || '/'}).`, phase: 'write', path, cause: error })
  }
}

function checkRecords(records: readonly unknown[], walk: Walk): Members[] {
  if (!Array.isArray(records)) throw new Refusal('An array of records is needed')
  walk.depth = 1
  const copies: Members[] = []
  for (let at = 0; at < records.length; at++) {
    walk.path[0] = at
    walk.values = 0
    copies.push(checkRecord(records[at], walk))
  }
  walk.depth = 0
  return copies
}

function checkRecord(record: unknown, walk: Walk): Members {
  if (typeof record !== 'object' || record === null || Array.isArray(record)) throw new Refusal(`A record is a plain object, not ${describe(record)}`)
  return checkObject(record, walk, walk.depth)
}

function checkValue(value: unknown, walk: Walk): unknown {
  return check(value, walk, walk.depth)
}

function check(value: unknown, walk: Walk, base: number): unknown {
  switch (typeof value) {
    case 'string':
      if (walk.surrogates && LONE_SURROGATE.test(value)) throw new Refusal('Half of a surrogate pair is no text and would not survive')
      return value
    case 'number':
      // One comparison refuses NaN, the infinities and integers that JSON readers round.
      if (!(value <= Number.MAX_SAFE_INTEGER && value >= -Number.MAX_SAFE_INTEGER)) throw new Refusal(Number.isFinite(value) ? 'An integer beyond 2^53-1 would be rounded; store it as text' : `${String(value)} is no JSON`)
      // JSON knows no minus zero.
      return value === 0 ? 0 : value
    case 'boolean':
      return value
    case 'object':
      if (value === null) return null
      return Object.freeze(Array.isArray(value) ? checkArray(value, walk, base) : checkObject(value, walk, base))
    default:
      throw new Refusal(`${describe(value)} is no JSON`)
  }
}

function enter(walk: Walk, base: number): void {
  if (walk.depth - base >= MAX_DEPTH) throw new Refusal(`Nested deeper than ${MAX_DEPTH} levels, or containing itself`)
  if (++walk.values > MAX_VALUES) throw new Refusal('More values than the largest record can hold', 'too-large')
}

function checkArray(value: unknown[], walk: Walk, base: number): unknown[] {
  enter(walk, base)
  if (Object.getPrototypeOf(value) !== Array.prototype) throw new Refusal(`${describe(value)} is no JSON`)
  const depth = walk.depth++
  const copy: unknown[] = []
  for (let at = 0; at < value.length; at++) {
    walk.path[depth] = at
    const item = value[at]
    if (item === undefined) throw new Refusal('undefined in an array would become null')
    copy.push(check(item, walk, base))
  }
  walk.values += value.length
  walk.depth = depth
  return copy
}

function checkObject(value: object, walk: Walk, base: number): Members {
  enter(walk, base)
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) throw new Refusal(`${describe(value)} is no plain object and would not come back as one`)
  if (Object.getOwnPropertySymbols(value).length > 0) throw new Refusal('A member named by a symbol would be lost')
  const depth = walk.depth++
  const copy = membersOf(value as Members, walk, depth)
  let gaps = false
  // A list of the names would be half of what the walk costs.
  for (const name in copy) {
    if (!Object.hasOwn(copy, name)) continue
    const member = copy[name]
    if (typeof member === 'string' && !walk.surrogates && name !== '__proto__') continue
    walk.path[depth] = name
    if (name === '__proto__') throw new Refusal('The name __proto__ is not allowed')
    if (walk.surrogates && LONE_SURROGATE.test(name)) throw new Refusal('Half of a surrogate pair is no text and would not survive')
    if (member === undefined) gaps = true
    // Most members are what they were: not written again.
    else if (typeof member === 'object' || member === 0) copy[name] = check(member, walk, base)
    else check(member, walk, base)
  }
  walk.depth = depth
  return gaps ? withoutGaps(copy) : copy
}

/** Every member read once, whatever getters and proxies would say the second time. */
function membersOf(value: Members, walk: Walk, depth: number): Members {
  try {
    return { ...value }
  } catch (error) {
    // One by one, to find out which.
    for (const name of Object.keys(value)) {
      walk.path[depth] = name
      void value[name]
    }
    throw error
  }
}

/** In JSON, what is undefined is not there. */
function withoutGaps(members: Members): Members {
  const copy: Members = {}
  for (const name of Object.keys(members)) if (members[name] !== undefined) copy[name] = members[name]
  return copy
}

function describe(value: unknown): string {
  if (value === undefined) return 'undefined'
  if (value === null) return 'null'
  if (typeof value === 'object') {
    const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name
    return typeof name === 'string' && name !== '' && name !== 'Object' ? `a ${name}` : 'an object of another kind'
  }
  return typeof value === 'function' ? 'a function' : `a ${typeof value}`
}

/** Why an id is not usable, or null. */
export function idProblem(id: unknown): string | null {
  if (typeof id !== 'string') return `An id is a string, not ${describe(id)}`
  if (id === '' || id.length > MAX_ID) return `An id has 1 to ${MAX_ID} characters`
  if (!CONTROL_OR_SURROGATE.test(id)) return null
  return CONTROL.test(id) ? 'An id has no control characters' : 'An id is well-formed text'
}

/**
 * Checks the id of a new record.
 *
 * @param at its index, where it is one of many
 * @throws HomingError `invalid-id` with the path
 */
export function checkNewId(id: unknown, at?: number): void {
  const problem = idProblem(id) ?? ((id as string).startsWith('$') ? 'Ids that start with $ are reserved' : null)
  if (problem !== null) throw new HomingError({ code: 'invalid-id', message: `${problem}.`, phase: 'write', path: at === undefined ? '/id' : `/${at}/id` })
}

/**
 * Checks the id of a record that is named by a caller.
 *
 * @throws HomingError `invalid-id`
 */
export function checkId(id: unknown): asserts id is string {
  const problem = idProblem(id)
  if (problem !== null) throw new HomingError({ code: 'invalid-id', message: `${problem}.`, phase: 'write', path: '/id' })
}
