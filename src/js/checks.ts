// Which options there are and what each may be, as tables. What nobody reads is refused: a misspelt one would be followed by doing
// something else, without a word. A declaration has the members of `core::schema`, the server's `schema`, and functions. Pure.
// Not here: what they are for (`options.ts`); whether declarations fit together (`Schema::check`).

import { HomingError } from './errors.js'
import { isObject, step } from './values.js'

/** Refuses what it cannot use. */
type Check = (path: string, value: unknown) => void
/** Member to what it may be. */
type Table = { readonly [name: string]: Check }

/** An option that cannot be followed. */
export function refuse(path: string, why: string, cause?: unknown): HomingError {
  return new HomingError({ code: 'invalid-record', message: `${why} (option ${path || '/'}).`, phase: 'open', path, cause })
}

function is(fits: (value: unknown) => boolean, why: string): Check {
  return (path, value) => {
    if (!fits(value)) throw refuse(path, why)
  }
}

function oneOf(...names: readonly string[]): Check {
  return (path, value) => {
    if (!names.includes(value as string)) throw refuse(path, `There is no ${quoted(value)} here; there are ${names.join(', ')}${hint(value, names)}`)
  }
}

/** JSON knows no `undefined`; files say `null` where the engine takes that for nothing. */
function orNull(check: Check): Check {
  return (path, value) => {
    if (value !== null) check(path, value)
  }
}

/** The engine counts to here. */
const MOST = 2 ** 32 - 1

function whole(least: number, most = Number.MAX_SAFE_INTEGER): Check {
  return is((value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most, `A whole number from ${least} to ${most} is needed`)
}

function listOf(check: Check): Check {
  return (path, value) => {
    if (!Array.isArray(value)) throw refuse(path, 'A list is needed')
    value.forEach((one, at) => check(path + step(at), one))
  }
}

/** Any names, each with such a value. */
function each(check: Check): Check {
  return (path, value) => {
    if (!isObject(value)) throw refuse(path, 'An object is needed, name to value')
    for (const [name, one] of Object.entries(value)) if (one !== undefined) check(path + step(name), one)
  }
}

/** These members and no others; one that is `undefined` is not there. */
function members(what: string, table: Table): Check {
  return (path, value) => {
    if (!isObject(value)) throw refuse(path, `${what} is an object`)
    const unknown = Object.keys(value).find((name) => value[name] !== undefined && !Object.hasOwn(table, name))
    if (unknown !== undefined) throw refuse(path + step(unknown), `${what} has no '${unknown}'${hint(unknown, Object.keys(table))}`)
    for (const [name, check] of Object.entries(table)) if (value[name] !== undefined) check(path + step(name), value[name])
  }
}

/** What `api` promises for later: to go on without it would be a lie about what is done. */
function notYet(instead = ''): Check {
  return (path) => {
    throw refuse(path, `'${path.slice(path.lastIndexOf('/') + 1)}' is not there yet${instead}`)
  }
}

const TEXT = is((value) => typeof value === 'string', 'A text is needed')
const FLAG = is((value) => typeof value === 'boolean', 'true or false is needed')
const FUNCTION = is((value) => typeof value === 'function', 'A function is needed')
const FIELDS = listOf(TEXT)
const LISTS_OF_FIELDS = listOf(FIELDS)
const FIELD_NAME: Check = (path, value) => {
  if (typeof value === 'function') throw refuse(path, 'A function that names a record is not there yet; name the field that does')
  TEXT(path, value)
}
const ORDINAL: Check = (path, value) => {
  members('An ordinal', { field: TEXT, parent: orNull(TEXT) })(path, value)
  TEXT(`${path}/field`, (value as { field?: unknown }).field)
}

const COLLECTION: Table = {
  merge: orNull(oneOf('lww', 'fields', 'append-only', 'fww', 'server-wins', 'client-wins', 'manual')),
  singleton: FLAG,
  ids: oneOf('client', 'server'),
  fields: each(oneOf('counter', 'set', 'text', 'max', 'min')),
  groups: LISTS_OF_FIELDS,
  references: each(TEXT),
  ordinal: orNull(ORDINAL),
  unique: LISTS_OF_FIELDS,
  sync: orNull(FLAG),
  localFields: FIELDS,
  lazy: FLAG,
  label: orNull(FIELD_NAME),
  title: orNull(TEXT),
  // The server reads it, and says what is wrong with it. JSON Schema knows `true` and `false`, too.
  schema: is((value) => isObject(value) || typeof value === 'boolean' || value === null, 'A JSON Schema is an object'),
  onConflict: FUNCTION,
  validate: notYet("; the server holds records against 'schema', a JSON Schema"),
  migrate: notYet(),
}

const TRANSPORT: Check = (path, value) => {
  // It may be an instance of a class of the app, with whatever that needs.
  if (typeof value !== 'object' || value === null) throw refuse(path, 'A transport is an object with push and pull')
  const { push, pull } = value as { push?: unknown; pull?: unknown }
  FUNCTION(`${path}/push`, push)
  FUNCTION(`${path}/pull`, pull)
}

const SYNC: Check = (path, value) => {
  members('sync', {
    url: is((given) => typeof given === 'string' || given instanceof URL, 'An address is needed'),
    transport: TRANSPORT,
    getToken: FUNCTION,
    headers: FUNCTION,
    credentials: oneOf('omit', 'same-origin', 'include'),
    auto: FLAG,
    debounce: whole(0),
    pollInterval: whole(0),
    timeout: whole(1),
    batch: members('sync.batch', { mutations: whole(1, MOST), bytes: whole(1, MOST) }),
    maxAttempts: whole(1, MOST),
  })(path, value)
  const { url, transport } = value as { url?: unknown; transport?: unknown }
  if ((url === undefined) === (transport === undefined)) throw refuse(path, 'Sync needs a url or a transport, one of them')
}

const OPTIONS: Table = {
  name: is((value) => typeof value === 'string' && value !== '', 'A database needs a name'),
  scope: TEXT,
  adoptScope: TEXT,
  version: whole(0, MOST),
  collections: each(members('A declaration', COLLECTION)),
  sync: SYNC,
  storage: oneOf('auto', 'indexeddb', 'memory'),
  durability: oneOf('relaxed', 'strict'),
  maxQueue: whole(1, MOST),
  worker: is((value) => typeof value === 'boolean' || typeof value === 'function', 'worker is true, false, or a function that makes one'),
  logger: FUNCTION,
  platform: members('platform', { now: FUNCTION, random: FUNCTION, fetch: FUNCTION }),
  signal: is((value) => typeof value === 'object' && value !== null && 'aborted' in value, 'A signal is that of an AbortController'),
  encryption: notYet('; what is stored can be read by whoever has the device'),
  wasm: (path) => {
    throw refuse(path, "This entry brings its module; 'wasm' is for homing/slim")
  },
}

/**
 * Checks what `openDatabase` was given.
 *
 * @throws HomingError `invalid-record` with the path of the option
 */
export function checkOptions(options: unknown): void {
  members('What openDatabase takes', OPTIONS)('', options)
  OPTIONS['name']?.('/name', (options as { name?: unknown }).name)
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : typeof value
}

/** The name that was probably meant. */
function hint(given: unknown, names: readonly string[]): string {
  if (typeof given !== 'string' || given.length > 40) return ''
  const far = (name: string): number => distance(given.toLowerCase(), name.toLowerCase())
  const [nearest] = names.filter((name) => far(name) <= Math.min(2, name.length / 2)).sort((a, b) => far(a) - far(b))
  return nearest === undefined ? '' : `; is '${nearest}' meant?`
}

/** How many letters are wrong, missing or too many (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + (a[i] === b[j] ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
