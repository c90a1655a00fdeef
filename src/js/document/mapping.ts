// One JSON tree and what it is stored as: collections, singletons, and the rest in the singleton `$root`. Pure. Not here:
// reading and writing the store (`exporting.ts`, `save.ts`), which row is which (`matching.ts`).
//
// Declared and already stored names come first. Else an object whose members are all arrays or such objects is a container; any
// other object is a singleton with everything below it; an array of objects reached through containers is a collection, also
// when empty; all the rest is kept in `$root`, at the place it has in the tree. `$root` also keeps the shape: what is where, in
// the order of the tree. It is a record like any other, so an empty collection is an empty array on every device.

import { HomingError } from '../errors.js'
import { ARCHIVE, RESERVED, copy, isObject, step, steps, type Members } from '../values.js'

/** The singleton of everything that is neither a collection nor a singleton. */
export const ROOT = '$root'
const SHAPE = '$shape'
const MAX_DEPTH = 100
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

export type Kind = 'rows' | 'one' | 'value'
/** JSON Pointer to what is there, in the order of the tree. */
export type Shape = { readonly [pointer: string]: Kind }

/** What is known about names before the tree is looked at. */
export interface Known {
  kindOf(name: string): 'rows' | 'one' | undefined
  /** Whether collections or singletons are known below that name. */
  contains(name: string): boolean
}

export interface RowsPart { readonly name: string; readonly pointer: string; readonly rows: readonly Members[] }
export interface OnePart { readonly name: string; readonly pointer: string; readonly value: Members }
export interface Split { readonly rows: readonly RowsPart[]; readonly ones: readonly OnePart[]; readonly rest: Members; readonly shape: Shape }

/**
 * Takes a tree apart; nothing is copied.
 *
 * @param only names to look at, with what is below them; all without it
 * @throws HomingError `invalid-record` when the tree is no object, too deep, or has a member `__proto__`
 */
export function split(tree: object, known: Known, only?: readonly string[]): Split {
  if (!isObject(tree)) throw refuse('', 'A document is an object')
  const parts = { rows: [] as RowsPart[], ones: [] as OnePart[], rest: {} as Members, shape: {} as { [pointer: string]: Kind } }
  const visit = (value: unknown, path: readonly string[]): void => {
    const name = path.join('.')
    const pointer = path.map(step).join('')
    if (path.at(-1) === '__proto__') throw refuse(pointer, 'The name __proto__ is not allowed')
    if (path.length > MAX_DEPTH) throw refuse(pointer, `Nested deeper than ${MAX_DEPTH} levels, or containing itself`)
    if (value === undefined || name === ARCHIVE || !selected(name, only)) return
    const kind = kindOf(value, name, path, known)
    if (kind === 'container') {
      for (const [member, inner] of Object.entries(value as Members)) visit(inner, [...path, member])
      return
    }
    parts.shape[pointer] = kind
    if (kind === 'rows') parts.rows.push({ name, pointer, rows: value as Members[] })
    else if (kind === 'one') parts.ones.push({ name, pointer, value: value as Members })
    else keepValue(parts.rest, path, value)
  }
  for (const [member, value] of Object.entries(tree)) visit(value, [member])
  return parts
}

function kindOf(value: unknown, name: string, path: readonly string[], known: Known): Kind | 'container' {
  if (typeof value !== 'object' || value === null || !path.every(isNameable) || name.length > 128) return 'value'
  if (Array.isArray(value)) return value.every(isObject) ? 'rows' : 'value'
  if (known.kindOf(name) === 'one') return 'one'
  return known.contains(name) || isContainer(value as Members, 0) ? 'container' : 'one'
}

/**
 * A copy for a reader who comes later. What cannot be stored stays as it is, so that it is refused like in the tree itself: a copy
 * of a `Date` would be `{}`.
 */
export function copyTree<T extends object>(tree: T): T {
  const copies = new Map<object, object>()
  const visit = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value
    const known = copies.get(value)
    if (known !== undefined) return known
    try {
      if (!isPlain(value)) return value
      const out: unknown[] | Members = Array.isArray(value) ? new Array<unknown>(value.length) : {}
      copies.set(value, out)
      for (const name in value) (out as Members)[name] = visit((value as Members)[name])
      return out
    } catch {
      // A getter threw, or this is too deep for the stack: it will be refused with its place.
      copies.delete(value)
      return value
    }
  }
  return visit(tree) as T
}

function isPlain(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value)
  if (Object.hasOwn(value, '__proto__') || Object.getOwnPropertySymbols(value).length > 0) return false
  return proto === Object.prototype || proto === null || (proto === Array.prototype && Array.isArray(value))
}

/** Dots join names, so a name with one cannot be joined; `$` is ours. */
function isNameable(member: string): boolean {
  return member !== '' && !member.includes('.') && !member.startsWith('$') && !CONTROL.test(member)
}

function isContainer(value: Members, depth: number): boolean {
  const members = Object.values(value).filter((member) => member !== undefined)
  return members.length > 0 && depth < MAX_DEPTH && members.every((member) => Array.isArray(member) || (isObject(member) && isContainer(member, depth + 1)))
}

/** Whether a name is asked for: named itself, below a named one, or on the way to one. */
export function selected(name: string, only: readonly string[] | undefined): boolean {
  return only === undefined || only.some((one) => one === name || name.startsWith(`${one}.`) || one.startsWith(`${name}.`))
}

function keepValue(rest: Members, path: readonly string[], value: unknown): void {
  let at = rest
  path.slice(0, -1).forEach((member, depth) => {
    const key = depth === 0 ? escape(member) : member
    if (!Object.hasOwn(at, key)) at[key] = {}
    at = at[key] as Members
  })
  const last = path.at(-1) ?? ''
  at[path.length === 1 ? escape(last) : last] = value
}

/** `$root` is a record: names that mean something in records, or in `$root`, get a `$` in front. */
export function escape(member: string): string {
  return RESERVED.has(member) || member.startsWith('$') ? `$${member}` : member
}

function unescape(member: string): string {
  return member.startsWith('$') ? member.slice(1) : member
}

/** The content of `$root`. */
export function rootContent(rest: Members, shape: Shape): Members {
  return { ...rest, [SHAPE]: shape }
}

/** The shape that a version of `$root` holds. */
export function shapeOf(root: Members | undefined): Shape {
  const shape = root?.[SHAPE]
  return isObject(shape) ? shape as Shape : {}
}

/** The rest that a version of `$root` holds, under the names it has in the tree. */
export function restOf(root: Members | undefined): Members {
  const rest: Members = {}
  for (const [member, value] of Object.entries(root ?? {})) if (member !== SHAPE && !RESERVED.has(member)) rest[unescape(member)] = value
  return rest
}

/** What is joined to a tree; all of it becomes part of the tree. */
export interface Parts { readonly shape: Shape; readonly rows: ReadonlyMap<string, unknown[]>; readonly ones: ReadonlyMap<string, Members>; readonly rest: Members }

/**
 * Puts a tree together, in the order of its shape; what the shape does not know comes after. Where devices disagree about a place,
 * rows and singletons beat what the shape says, and of two of them the one with the shorter name. Below a singleton only what it
 * does not hold itself is shown.
 */
export function join({ shape, rows, ones, rest }: Parts): Members {
  const tree: Members = {}
  const parts = new Map<string, Members | unknown[]>(ones)
  for (const [name, list] of rows) if (list.length > 0) parts.set(name, list)
  const placed = new Set<string>()
  const placePart = (name: string, part: Members | unknown[]): void => {
    placed.add(name)
    const path = name.split('.')
    const above = ancestors(name).filter((one) => parts.has(one))
    if (above.length === 0 || (above.every((one) => ones.has(one)) && dig(tree, path) === undefined)) place(tree, path, part)
  }
  for (const [pointer, kind] of Object.entries(shape)) {
    const path = steps(pointer)
    const name = path.every(isNameable) ? path.join('.') : ''
    const part = parts.get(name)
    if (part !== undefined) placePart(name, part)
    else if (kind !== 'rows') place(tree, path, copy(dig(rest, path)))
    else if (dig(tree, path) === undefined && ![...parts.keys()].some((one) => isBelow(one, name) || isBelow(name, one))) place(tree, path, rows.get(name) ?? [])
  }
  for (const [name, part] of parts) if (!placed.has(name)) placePart(name, part)
  overlay(tree, rest)
  return tree
}

/** The names above a name: of `feed.store.bags`, `feed` and `feed.store`. */
export function ancestors(name: string): string[] {
  const path = name.split('.')
  return path.slice(1).map((_, at) => path.slice(0, at + 1).join('.'))
}

/** Whether a name is one of those below another. */
export function isBelow(name: string, above: string): boolean {
  return name.startsWith(`${above}.`)
}

/** A version of `$root` without what is at a place or in its way. */
export function without<T extends Members>(root: T, [first = '', ...path]: readonly string[]): T {
  return removed(root, [escape(first), ...path]) as T
}

function removed(value: Members, [member = '', ...deeper]: readonly string[]): Members {
  if (!Object.hasOwn(value, member)) return value
  const { [member]: there, ...others } = value
  if (deeper.length === 0 || !isObject(there)) return others
  const left = removed(there, deeper)
  return left === there ? value : { ...value, [member]: left }
}

/** What is at a path, own members only. */
export function dig(value: unknown, path: readonly string[]): unknown {
  let at = value
  for (const member of path) {
    if (!isObject(at) || !Object.hasOwn(at, member)) return undefined
    at = at[member]
  }
  return at
}

/** Puts a value at a path, unless something that is no object is in the way. Returns whether it is there now. */
export function place(tree: Members, path: readonly string[], value: unknown): boolean {
  if (value === undefined || path.includes('__proto__')) return false
  let at = tree
  for (const member of path.slice(0, -1)) {
    if (!Object.hasOwn(at, member)) at[member] = {}
    const next = at[member]
    if (!isObject(next)) return false
    at = next
  }
  const last = path.at(-1) ?? ''
  const there = Object.hasOwn(at, last) ? at[last] : undefined
  if (isObject(there) && isObject(value)) Object.assign(there, value)
  else at[last] = value
  return true
}

/** Adds what has no place in the shape. */
function overlay(tree: Members, rest: Members): void {
  for (const [member, value] of Object.entries(rest)) {
    if (member === '__proto__') continue
    const there = Object.hasOwn(tree, member) ? tree[member] : undefined
    if (isObject(there) && isObject(value)) overlay(there, value)
    else if (there === undefined) tree[member] = copy(value)
  }
}

function refuse(path: string, why: string): HomingError {
  return new HomingError({ code: 'invalid-record', message: `${why}${path === '' ? '' : ` (at ${path})`}.`, phase: 'write', path })
}
