// Which rows, in which order: conditions and orders compiled to functions, and the difference of two results. Pure. Not here:
// where the rows come from (`rows.ts`) and who is told (`collection.ts`).

import type { Changes, Meta, Query, Range, Where } from './types.js'
import { isObject, sameValue, type Members } from './values.js'

/** A row whose type does not matter here. */
export type AnyRow = Members & Meta

const RANGE_NAMES: ReadonlySet<string> = new Set(['in', 'gt', 'gte', 'lt', 'lte', 'startsWith'])

/**
 * Picks, orders and cuts. Without any condition the result is the input itself.
 *
 * @example select(rows, { where: { status: 'active' }, orderBy: '-date', limit: 7 })
 */
export function select<R extends AnyRow>(rows: readonly R[], query: Query<never> | undefined): readonly R[] {
  if (query === undefined) return rows
  let out = rows
  if (query.where !== undefined) out = out.filter(compileWhere(query.where as Where<Members>))
  if (query.orderBy !== undefined) out = [...out].sort(compileOrder(query.orderBy))
  const offset = wholeNumber(query.offset, 0)
  const limit = wholeNumber(query.limit, Infinity)
  if (offset > 0 || limit < out.length) out = out.slice(offset, limit === Infinity ? undefined : offset + limit)
  return out === rows ? rows : Object.freeze(out)
}

function wholeNumber(value: number | undefined, otherwise: number): number {
  return value === undefined || Number.isNaN(value) ? otherwise : Math.max(0, Math.floor(value))
}

/** The predicate of a condition. */
export function compileWhere(where: Where<Members>): (row: AnyRow) => boolean {
  if (typeof where === 'function') return where as (row: AnyRow) => boolean
  const tests = Object.entries(where).map(([name, condition]): ((row: AnyRow) => boolean) => {
    if (isRange(condition)) return (row) => inRange(row[name], condition)
    if (typeof condition === 'object' && condition !== null) return (row) => sameValue(row[name], condition)
    return (row) => row[name] === condition
  })
  return (row) => tests.every((test) => test(row))
}

function isRange(condition: unknown): condition is Range<unknown> {
  if (!isObject(condition)) return false
  const names = Object.keys(condition)
  return names.length > 0 && names.every((name) => RANGE_NAMES.has(name))
}

function inRange(value: unknown, range: Range<unknown>): boolean {
  if (range.in !== undefined && !range.in.some((one) => sameValue(one, value))) return false
  if (range.startsWith !== undefined && !(typeof value === 'string' && value.startsWith(range.startsWith))) return false
  return (range.gt === undefined || compares(value, range.gt, (order) => order > 0))
    && (range.gte === undefined || compares(value, range.gte, (order) => order >= 0))
    && (range.lt === undefined || compares(value, range.lt, (order) => order < 0))
    && (range.lte === undefined || compares(value, range.lte, (order) => order <= 0))
}

function compares(value: unknown, bound: unknown, holds: (order: number) => boolean): boolean {
  return typeof value === typeof bound && value !== null && bound !== null && holds(compareValues(value, bound))
}

/** The comparison of an order; rows that compare equal keep their order. */
export function compileOrder(orderBy: NonNullable<Query<never>['orderBy']>): (a: AnyRow, b: AnyRow) => number {
  if (typeof orderBy === 'function') return orderBy as unknown as (a: AnyRow, b: AnyRow) => number
  const descending = orderBy.startsWith('-')
  const name = descending ? orderBy.slice(1) : orderBy
  return descending ? (a, b) => compareValues(b[name], a[name]) : (a, b) => compareValues(a[name], b[name])
}

/** A total order over JSON values: nothing and null, then booleans, numbers, texts by code unit, the rest all equal. */
export function compareValues(a: unknown, b: unknown): number {
  const rank = rankOf(a) - rankOf(b)
  if (rank !== 0) return rank
  if (a === b || rankOf(a) === 4 || rankOf(a) === 0) return 0
  return (a as number | string | boolean) < (b as number | string | boolean) ? -1 : 1
}

function rankOf(value: unknown): number {
  if (value === undefined || value === null) return 0
  return typeof value === 'boolean' ? 1 : typeof value === 'number' ? 2 : typeof value === 'string' ? 3 : 4
}

/** The earlier result when the new one holds the same rows in the same order. */
export function keepIdentity<R>(before: readonly R[] | undefined, after: readonly R[]): readonly R[] {
  if (before === undefined || before.length !== after.length) return after
  return after.every((row, at) => row === before[at]) ? before : after
}

/** What turns one result into the other. */
export function difference<R extends AnyRow>(source: Changes<R>['source'], before: readonly R[], after: readonly R[]): { source: Changes<R>['source']; added: R[]; updated: R[]; removed: string[] } {
  const old = new Map(before.map((row) => [row.id, row]))
  const added: R[] = []
  const updated: R[] = []
  for (const row of after) {
    const earlier = old.get(row.id)
    if (earlier === undefined) added.push(row)
    else if (earlier !== row) updated.push(row)
    old.delete(row.id)
  }
  return { source, added, updated, removed: [...old.keys()] }
}
