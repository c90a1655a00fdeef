// JSON values: equality, freezing, copying, canonical text, and the names Homing keeps for itself. Pure. Not here: what is
// allowed in a record (`validate.ts`).

/** A JSON object whose members can be read. */
export type Members = { [name: string]: unknown }

/** The members Homing owns in every record. */
export const RESERVED: ReadonlySet<string> = new Set(['id', '_updatedAt', '_deletedAt', '_rev', '_fieldTimes', '_crdt', '_sourceId'])
export const SINGLETON = '$singleton'
/** Prefix of the ids given to rows without one. */
export const ROW_PREFIX = '$row_'
/** Prefix of the ids of records that the server has not named yet. */
export const OPTIMISTIC_PREFIX = 'optimistic_'
/** The collection that conflicts are rows of. */
export const ARCHIVE = '_conflictArchive'

/** Whether a value has members: an object, no array. */
export function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether two JSON values are the same; the order of members does not count, a member that is `undefined` is not there. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    for (let at = 0; at < a.length; at++) if (!sameValue(a[at], b[at])) return false
    return true
  }
  return sameMembers(a as Members, b as Members, never)
}

/** Whether two records hold the same, Homing's own members aside. */
export function sameContent(a: Members, b: Members): boolean {
  return sameMembers(a, b, isReserved)
}

function sameMembers(a: Members, b: Members, skip: (name: string) => boolean): boolean {
  const proto: unknown = Object.getPrototypeOf(a)
  if (proto !== Object.prototype && proto !== null) return false
  let open = 0
  for (const name in a) {
    const value = a[name]
    if (value === undefined || skip(name)) continue
    open++
    const other = b[name]
    if (other === undefined || !(value === other || sameValue(value, other))) return false
  }
  for (const name in b) if (b[name] !== undefined && !skip(name)) open--
  return open === 0
}

function never(): boolean {
  return false
}

/** Whether Homing owns a member of that name. */
export function isReserved(name: string): boolean {
  return name === 'id' || (name.charCodeAt(0) === 95 && RESERVED.has(name))
}

/** Freezes a value that JSON.parse made, all the way down. */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === 'object') freeze(item)
  } else {
    for (const name in value) if (typeof value[name] === 'object') freeze(value[name])
  }
  return Object.freeze(value)
}

/** A copy that may be changed. */
export function copy<T>(value: T): T
export function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copy)
  const out: Members = {}
  for (const name in value) out[name] = copy((value as Members)[name])
  return out
}

/** A copy without Homing's own members. */
export function copyContent(record: Members): Members {
  const out: Members = {}
  for (const name in record) if (!isReserved(name)) out[name] = copy(record[name])
  return out
}

/** What is declared to stay on the device. Where a collection does so as a whole, none of it is special. */
export function localOf(declared: { readonly sync?: boolean; readonly localFields?: readonly string[] } | undefined): readonly string[] {
  return declared?.sync === false ? [] : declared?.localFields ?? []
}

/** A record without some members, and those: what everybody may know of it, and what never leaves the device (`localFields`). */
export function apart(record: Members, local: readonly string[]): readonly [Members, Members] {
  if (local.length === 0) return [record, {}]
  const shared = { ...record }
  const own: Members = {}
  for (const name of local) {
    if (shared[name] !== undefined) own[name] = shared[name]
    delete shared[name]
  }
  return [shared, own]
}

/** The fields that are declared to be sets. */
export function setsOf(declared: { readonly fields?: { readonly [field: string]: string | undefined } } | undefined): readonly string[] {
  return Object.entries(declared?.fields ?? {}).filter(([, kind]) => kind === 'set').map(([field]) => field)
}

/** Whether two records say the same to everybody: what never leaves the device does not count, nor the order in which a set is written. */
export function sameShared(a: Members, b: Members, local: readonly string[], sets: readonly string[] = []): boolean {
  return sameContent(unordered(apart(a, local)[0], sets), unordered(apart(b, local)[0], sets))
}

/** With the keys of what its sets hold, each once, instead of them. */
function unordered(record: Members, sets: readonly string[]): Members {
  if (sets.length === 0) return record
  const out = { ...record }
  for (const name of sets) {
    const value = out[name]
    if (Array.isArray(value)) out[name] = [...new Set(value.map((item) => valueKey(item, 0)))].sort()
  }
  return out
}

/** Text that is equal for equal contents: members sorted, Homing's own left out at the top. What is no JSON never equals anything. */
export function contentKey(record: Members): string {
  return membersKey(record, isReserved, 0)
}

function membersKey(value: Members, skip: (name: string) => boolean, depth: number): string {
  const proto: unknown = Object.getPrototypeOf(value)
  if ((proto !== Object.prototype && proto !== null) || depth > 200) return oddKey()
  const parts: string[] = []
  for (const name of Object.keys(value).sort()) {
    const member = value[name]
    if (member !== undefined && !skip(name)) parts.push(`${JSON.stringify(name)}:${valueKey(member, depth)}`)
  }
  return `{${parts.join()}}`
}

function valueKey(value: unknown, depth: number): string {
  if (Array.isArray(value)) return depth > 200 ? oddKey() : `[${value.map((item) => valueKey(item, depth + 1)).join()}]`
  if (typeof value === 'object' && value !== null) return membersKey(value as Members, never, depth + 1)
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) return JSON.stringify(value)
  return oddKey()
}

let odd = 0
function oddKey(): string {
  return `odd ${++odd}`
}

/** One step of a JSON Pointer. */
export function step(name: string | number): string {
  return typeof name === 'number' ? `/${name}` : `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/** The steps of a JSON Pointer. */
export function steps(pointer: string): string[] {
  return pointer.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}
