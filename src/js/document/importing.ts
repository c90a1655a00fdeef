// Importing a tree: every row is a creation that never beats what is here or on the server. Running it again adds nothing.

import { HomingError, abortError, type ErrorCode } from '../errors.js'
import { baseOf, importation, put, updateOperation, type Base } from '../operations.js'
import type { AnyRow } from '../query.js'
import type { ImportReport, Options } from '../types.js'
import { encodeRecord } from '../validate.js'
import { SINGLETON, sameContent, sameValue, type Members } from '../values.js'
import { ROOT, rootContent, shapeOf, split, type OnePart, type RowsPart, type Split } from './mapping.js'
import { Seen, matchRows } from './matching.js'
import { Plan, importedText, rowText, seenAs } from './plan.js'
import type { Baseline, Store } from './store.js'

/** Plans a first save of a page: an import, except for rows that say which version they were made from. */
export function planImport(store: Store, tree: Split, plan: Plan, into: Baseline): void {
  planOneImport(store, { name: ROOT, pointer: '', value: rootContent(tree.rest, tree.shape) }, store.root, plan, into.of(ROOT))
  for (const part of tree.ones) planOneImport(store, part, store.session.rows(part.name).get(SINGLETON), plan, into.of(part.name))
  for (const part of tree.rows) planRowsImport(store, part, plan, into.of(part.name))
}

/** A singleton: new, the same, or only what is missing is added. */
export function planOneImport(store: Store, { name, pointer, value }: OnePart, current: AnyRow | undefined, plan: Plan, seen: Seen): void {
  const rows = store.session.rows(name)
  const sourceId = name === ROOT ? undefined : value['id']
  const note = (): void => {
    const row = rows.get(SINGLETON)
    if (row !== undefined && store.same(name, value, row)) plan.see(seen, SINGLETON, seenAs(value, row))
  }
  const text = rowText(value, pointer, SINGLETON, sourceId)
  if (current === undefined) {
    if (name !== ROOT) plan.inserted++
    return plan.add(name, importation(name, [text]), note)
  }
  if (name === ROOT) return planRootImport(value, current, plan, note)
  if (sameContent(value, current)) {
    plan.unchanged++
    return note()
  }
  const base = madeFrom(value)
  if (base !== undefined && isKnown(store, name, current, base)) {
    plan.updated++
    return plan.add(name, put(name, text, base), note)
  }
  const same = store.same(name, value, current) && sameValue(sourceId, current['_sourceId'])
  plan[same ? 'unchanged' : 'archived']++
  if (same) plan.see(seen, SINGLETON, seenAs(value, current))
  if (plan.offers(seen, SINGLETON, text)) plan.add(name, importation(name, [text]))
}

/** What is in `$root` stays; names and values that are new join it. */
function planRootImport(value: Members, current: AnyRow, plan: Plan, note: () => void): void {
  const patch: Members = {}
  for (const [member, mine] of Object.entries(value)) if (current[member] === undefined && mine !== undefined) patch[member] = mine
  const shape = { ...shapeOf(value), ...shapeOf(current) }
  if (!sameValue(shape, shapeOf(current))) patch['$shape'] = shape
  if (Object.keys(patch).length === 0) return note()
  plan.add(ROOT, updateOperation(ROOT, SINGLETON, patch), note)
}

function planRowsImport(store: Store, part: RowsPart, plan: Plan, seen: Seen): void {
  const { name, pointer, rows: shown } = part
  const rows = store.session.rows(name)
  const imported: Members[] = []
  const texts: string[] = []
  const matches = shown.some((row) => madeFrom(row) !== undefined) ? matchRows(shown, new Seen(rows.all()), store.local(name)) : null
  shown.forEach((row, at) => {
    const id = matches?.ids[at]
    const current = id === undefined ? undefined : rows.get(id)
    const base = madeFrom(row)
    if (id === undefined || current === undefined || base === undefined || !isKnown(store, name, current, base) || store.policy(name, id) === 'append-only') {
      imported.push(row)
      texts.push(importedText(row, `${pointer}/${at}`))
      return
    }
    if (sameContent(row, current)) {
      plan.unchanged++
      return plan.see(seen, id, current)
    }
    plan.updated++
    rows.readUnread(id)
    plan.add(name, put(name, rowText(row, `${pointer}/${at}`, id, current['_sourceId']), base), () => {
      const now = rows.get(id)
      if (now !== undefined) plan.see(seen, id, seenAs(row, now))
    })
  })
  if (texts.length === 0) return
  const before = new Set(rows.all().map((row) => row.id))
  const gone = new Map(rows.deleted().map((row) => [row.id, row]))
  plan.add(name, importation(name, texts), (result) => {
    const stored = new Map(rows.getMany(result.ids).map((row) => [row.id, row]))
    result.ids.forEach((id, at) => {
      const row = stored.get(id)
      const mine = imported[at]
      const here = row ?? gone.get(id)
      const same = here !== undefined && mine !== undefined && store.same(name, mine, here)
      plan[before.has(id) || gone.has(id) ? same ? 'unchanged' : 'archived' : 'inserted']++
      if (mine === undefined) return
      if (row !== undefined && (same || !before.has(id))) plan.see(seen, id, seenAs(mine, row))
      else plan.offers(seen, id, texts[at] ?? '')
    })
  })
}

/** The version a row says it was made from: rows of an earlier export carry their `_rev`. */
function madeFrom(row: Members): Base | undefined {
  const base = baseOf(row)
  return base?._rev === undefined ? undefined : base
}

/** Whether this device can have shown that version: one of another farm's export, or that was exported elsewhere, is news like any other row. */
function isKnown(store: Store, name: string, current: AnyRow, base: Base): boolean {
  const rev = current._rev ?? store.session.confirmed(name, current.id)?._rev
  return rev !== undefined && base._rev !== undefined && base._rev <= rev
}

/** Imports collection by collection, so that the page stays usable and the call can be aborted between them. */
export async function importTree(store: Store, tree: object, { signal, onProgress }: Options): Promise<ImportReport> {
  const { session } = store
  session.open('write')
  session.checkSignal(signal, 'write')
  const parts = split(tree, store)
  const total = parts.rows.reduce((sum, part) => sum + part.rows.length, 0)
  const report = { collections: {} as ImportReport['collections'], problems: [] as { path: string; code: ErrorCode }[] }
  // Read before the first wait: the tree belongs to the app again after the call.
  const work = parts.rows.map((part) => ({ part, ...usableRows(part, report.problems) }))
  const first = new Plan(session)
  for (const part of parts.ones) attempt(report.problems, () => planOneImport(store, part, session.rows(part.name).get(SINGLETON), first, new Seen()))
  const rest = usableRest(parts.rest, report.problems)
  attempt(report.problems, () => planOneImport(store, { name: ROOT, pointer: '', value: rootContent(rest, parts.shape) }, store.root, first, new Seen()))
  const durable: Promise<void>[] = []
  const run = (plan: Plan): void => {
    const ticket = plan.run()
    // Reported by the end of this function, however long that takes.
    ticket.catch(() => {})
    durable.push(ticket)
  }
  run(first)
  let done = 0
  const progress = (phase: string): void => {
    const at = done
    if (onProgress !== undefined) session.later(() => onProgress({ phase, done: at, total }))
  }
  try {
    for (const { part, texts } of work) {
      if (signal?.aborted) throw abortError(signal, 'write')
      const counts = { rows: part.rows.length, inserted: 0, unchanged: 0, archived: 0, duplicateIds: 0 }
      report.collections[part.name] = counts
      if (texts.length === 0) continue
      const plan = new Plan(session)
      plan.add(part.name, importation(part.name, texts), (_, { inserted, unchanged, archived, duplicateIds }) => Object.assign(counts, { inserted, unchanged, archived, duplicateIds }))
      run(plan)
      done += part.rows.length
      progress('importing')
      await turn()
    }
  } finally {
    // Whatever was written is waited for; a failure of storage counts more than the abort.
    await Promise.all(durable)
  }
  progress('durable')
  return report
}

/** The texts of the rows that can be stored; the others are problems. */
function usableRows(part: RowsPart, problems: { path: string; code: ErrorCode }[]): { texts: string[] } {
  const texts: string[] = []
  part.rows.forEach((row, at) => attempt(problems, () => texts.push(importedText(row, `${part.pointer}/${at}`))))
  return { texts }
}

/** The values that can be stored; the others are problems. */
function usableRest(rest: Members, problems: { path: string; code: ErrorCode }[]): Members {
  const usable: Members = {}
  for (const [member, value] of Object.entries(rest)) {
    attempt(problems, () => {
      encodeRecord({ [member]: value })
      usable[member] = value
    })
  }
  return usable
}

function attempt(problems: { path: string; code: ErrorCode }[], work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof HomingError)) throw error
    problems.push({ path: error.path ?? '', code: error.code })
  }
}

/** Lets the page draw and the journal write. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve))
}

/** The document under a localStorage key. */
export function readLocalStorage(key: string): object {
  let text: string | null
  try {
    text = globalThis.localStorage.getItem(key)
  } catch (cause) {
    throw new HomingError({ code: 'storage-unavailable', message: 'The browser does not let this page read localStorage.', phase: 'storage', cause })
  }
  if (text === null) throw new HomingError({ code: 'not-found', message: `localStorage has nothing under '${key}'.`, phase: 'storage' })
  try {
    const tree: unknown = JSON.parse(text)
    if (typeof tree === 'object' && tree !== null) return tree
  } catch (cause) {
    throw new HomingError({ code: 'invalid-record', message: `What localStorage has under '${key}' is no JSON.`, phase: 'storage', path: '', cause })
  }
  throw new HomingError({ code: 'invalid-record', message: `What localStorage has under '${key}' is no JSON object.`, phase: 'storage', path: '' })
}
