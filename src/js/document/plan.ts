// A change of the store on behalf of a tree: operations, what each means for what the page has seen, and the way back when
// storage refuses. Not here: which operations (`save.ts`, `importing.ts`).

import type { ImportCounts, OpResult } from '../engine.js'
import { batchLines, type Operation } from '../operations.js'
import type { AnyRow } from '../query.js'
import type { Session } from '../session.js'
import { encodeRecord } from '../validate.js'
import { freeze, isReserved, copy, sameContent, type Members } from '../values.js'
import { GroupTicket } from '../writes.js'
import type { Seen } from './matching.js'
import { storedAs } from './matching.js'

interface Step {
  readonly collection: string
  readonly operation: Operation
  /** Notes what the page has seen by it. */
  readonly note: (result: OpResult, counts: ImportCounts) => void
}

export class Plan {
  inserted = 0
  updated = 0
  deleted = 0
  unchanged = 0
  /** Rows that differ and were not written: what is here stays, theirs is in the archive. */
  archived = 0
  readonly steps: Step[] = []
  readonly #session: Session
  readonly #undo: (() => void)[] = []

  constructor(session: Session) {
    this.#session = session
  }

  add(collection: string, operation: Operation, note: Step['note'] = () => {}): void {
    this.steps.push({ collection, operation, note })
  }

  /** The page has seen this version; forgotten again if the write fails. */
  see(seen: Seen, id: string, row: AnyRow | undefined): void {
    const before = seen.rows.get(id)
    if (row === undefined) seen.delete(id)
    else seen.set(id, row)
    this.#undo.push(() => {
      if (seen.rows.get(id) !== row) return
      if (before === undefined) seen.delete(id)
      else seen.set(id, before)
    })
  }

  /** Whether a row that met another one still has to be archived; noted, so that it happens once. */
  offers(seen: Seen, id: string, text: string): boolean {
    const before = seen.offered.get(id)
    if (before === text) return false
    seen.offered.set(id, text)
    this.#undo.push(() => {
      if (before === undefined) seen.offered.delete(id)
      else seen.offered.set(id, before)
    })
    return true
  }

  /** Plans or writes; what was noted is forgotten where that is refused. */
  noting<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.#forget()
      throw error
    }
  }

  #forget(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo()
  }

  /** Writes all of it in one step. The result resolves when it is durable. */
  run(): GroupTicket<void> {
    const { steps } = this
    if (steps.length === 0) {
      this.#session.open('write')
      const nothing = new GroupTicket<void>(this.#session, [], { durable: () => {} })
      nothing.durable([])
      return nothing
    }
    let results: readonly OpResult[] = []
    let sums: ImportCounts = { inserted: 0, unchanged: 0, archived: 0, duplicateIds: 0 }
    const write = (): GroupTicket<void> => this.#session.write(batchLines(steps.map(({ operation }) => operation)), (written, counts) => {
      results = written
      sums = counts
      return new GroupTicket<void>(this.#session, steps.map(({ collection }) => collection), { durable: () => {}, failed: () => this.#forget() })
    })
    const ticket = this.noting(write)
    steps.forEach(({ note }, at) => note(results[at] ?? { ids: [] }, sums))
    return ticket
  }
}

/** The text of a row of a tree as it is stored. Most rows are stored as they are. */
export function rowText(row: Members, pointer: string, id: string | undefined, sourceId: unknown): string {
  if (sourceId === undefined && row['id'] === id) return encodeRecord(row, pointer)
  const { id: _, ...members } = row
  encodeRecord(members, pointer)
  return encodeRecord({ ...(id === undefined ? {} : { id }), ...members, ...(sourceId === undefined ? {} : { _sourceId: sourceId }) }, pointer)
}

/** The text of a row whose id is its own business, as an import takes it. */
export function importedText(row: Members, pointer: string): string {
  const { id, sourceId } = storedAs(row)
  return rowText(row, pointer, id, sourceId)
}

/** What the page shows for a row it has just written: its own content under the new stamp. */
export function written(content: Members, row: AnyRow): AnyRow {
  const shown: Members = {}
  for (const name in row) if (isReserved(name)) shown[name] = row[name]
  for (const name in content) if (!isReserved(name) && content[name] !== undefined) shown[name] = copy(content[name])
  return freeze(shown) as AnyRow
}

/** What a page has seen of a row by its own that says the same, maybe with other notes of this device. */
export function seenAs(content: Members, row: AnyRow): AnyRow {
  return sameContent(content, row) ? row : written(content, row)
}
