// The rows of one collection as objects: fetched when asked for, frozen, kept until they change. Not here: who is told about
// changes (`collection.ts`), what a query is (`query.ts`), how a write is made (`writes.ts`).

import type { Change, Engine } from './engine.js'
import { Listeners } from './observable.js'
import type { Made } from './operations.js'
import { keepIdentity, type AnyRow } from './query.js'
import { OPTIMISTIC_PREFIX, freeze, sameValue } from './values.js'

/** Where rows come from: the engine while it is open, brought up to date before a read. */
export interface Reader {
  /** Null once closed; what was read stays readable. */
  readonly engine: Engine | null
  /** Takes in what happened since the last read. */
  refresh(): void
}

/** A write whose record nobody has read yet; it must be read before another write changes it. */
export interface Unread { read(): void }

const NONE: readonly AnyRow[] = Object.freeze([])
/** Stands where a row was, so that it comes back to its place. */
const GONE: AnyRow = Object.freeze({ id: '', _updatedAt: '' })

/** A change together with what was shown before it. */
export interface Delivery { readonly change: Change; readonly before: readonly AnyRow[] }

export class Rows {
  readonly name: string
  /** Told by the session, in a microtask after the change. */
  readonly changed = new Listeners<Delivery>()
  readonly unread = new Map<string, Unread>()
  readonly unreadMany = new Set<Unread>()
  readonly #reader: Reader
  /** Rows that the page has made itself, until changes are taken in. */
  #expected: AnyRow[] = []
  #byId = new Map<string, AnyRow | null>()
  /** Loaded, and not looked up by id so far. */
  #unlisted: readonly AnyRow[] | null = null
  #stale = new Set<string>()
  #loaded = false
  #snapshot: readonly AnyRow[] | null = null
  #before: readonly AnyRow[] = NONE
  #tombstones: readonly AnyRow[] | null = null
  #version = 0
  /** Ids that the server replaced. */
  readonly #aliases = new Map<string, string>()

  constructor(name: string, reader: Reader) {
    this.name = name
    this.#reader = reader
  }

  /** In order once loaded. Null: known, not fetched. */
  get #slots(): Map<string, AnyRow | null> {
    if (this.#unlisted !== null) {
      for (const row of this.#unlisted) this.#byId.set(row.id, row)
      this.#unlisted = null
    }
    return this.#byId
  }

  set #slots(slots: Map<string, AnyRow | null>) {
    this.#unlisted = null
    this.#byId = slots
  }

  /** Grows with every change; equal versions are equal data. */
  get version(): number {
    this.#reader.refresh()
    return this.#version
  }

  /** The id a record has now; the server may have replaced the one it had. What is no id is left to whoever refuses it. */
  now(id: string): string {
    if (typeof id !== 'string' || !id.startsWith(OPTIMISTIC_PREFIX)) return id
    const known = this.#aliases.get(id) ?? this.#reader.engine?.currentId(id) ?? id
    if (known !== id) this.#aliases.set(id, known)
    return known
  }

  /** The live row of that id. */
  get(given: string): AnyRow | undefined {
    if (typeof given !== 'string') return undefined
    this.#reader.refresh()
    const id = this.now(given)
    const slot = this.#slots.get(id)
    if (slot && !this.#stale.has(id)) return slot === GONE ? undefined : slot
    if (this.#loaded && slot === undefined) return undefined
    const text = this.#reader.engine?.row(this.name, id)
    return text === undefined ? undefined : this.#keep(id, JSON.parse(text) as AnyRow)
  }

  /** Every live row, in order; the same array until something changed. */
  all(): readonly AnyRow[] {
    this.#reader.refresh()
    if (this.#snapshot !== null) return this.#snapshot
    if (this.#reader.engine === null) return this.#before
    if (!this.#loaded || this.#stale.size * 2 > this.#slots.size) this.#load()
    else if (this.#stale.size > 0) this.#fetch([...this.#stale])
    this.#snapshot = keepIdentity(this.#before, this.#unlisted ?? Object.freeze(this.#shown()))
    this.#before = this.#snapshot
    return this.#snapshot
  }

  #shown(): AnyRow[] {
    const rows: AnyRow[] = []
    for (const row of this.#slots.values()) if (row !== null && row !== GONE) rows.push(row)
    return rows
  }

  /** The tombstones. */
  deleted(): readonly AnyRow[] {
    this.#reader.refresh()
    const engine = this.#reader.engine
    if (engine === null) return this.#tombstones ?? NONE
    return this.#tombstones ??= freeze(JSON.parse(engine.deleted(this.name)) as AnyRow[])
  }

  /** How many live rows there are, without making objects of them. */
  count(): number {
    this.#reader.refresh()
    const engine = this.#reader.engine
    if (this.#loaded || engine === null) return this.all().length
    const counts = JSON.parse(engine.collections()) as { [name: string]: number }
    return Object.hasOwn(counts, this.name) ? counts[this.name] ?? 0 : 0
  }

  /** The version behind a tombstone or a live row, members of Homing included; not kept. */
  peek(id: string): AnyRow | undefined {
    this.#reader.refresh()
    const text = this.#reader.engine?.row(this.name, id)
    return text === undefined ? undefined : freeze(JSON.parse(text) as AnyRow)
  }

  /** The rows of these ids in one step; those that are not live are left out. */
  getMany(given: readonly string[]): AnyRow[] {
    this.#reader.refresh()
    const here: AnyRow[] = []
    const slots = this.#slots
    for (const id of given) {
      const row = slots.get(this.now(id))
      if (!row || row === GONE || this.#stale.has(row.id)) return this.#readMany(given)
      here.push(row)
    }
    return here
  }

  #readMany(given: readonly string[]): AnyRow[] {
    const ids = given.map((id) => this.now(id))
    this.#fetch(ids.filter((id) => this.#slots.get(id) == null || this.#stale.has(id)))
    const rows: AnyRow[] = []
    for (const id of ids) {
      const row = this.#slots.get(id)
      if (row && row !== GONE) rows.push(row)
    }
    return rows
  }

  /** Reads what earlier writes of this record made, before another one changes it. */
  readUnread(id: string): void {
    this.readUnreadOf(id)
    for (const many of this.unreadMany) many.read()
  }

  /** The same before a new record of that id, which may be refused later: no write of many is read for that. */
  readUnreadOf(id: string): void {
    if (this.unread.size === 0) return
    this.unread.get(id)?.read()
    const now = this.now(id)
    if (now !== id) this.unread.get(now)?.read()
  }

  /** These records were just written under that stamp: they are the rows as soon as changes are taken in. */
  expect(made: readonly Made[], at: string): void {
    for (const record of made) {
      record['_updatedAt'] = at
      record['_deletedAt'] = null
      this.#expected.push(Object.freeze(record) as unknown as AnyRow)
    }
  }

  /** The records expected, as a change. */
  expected(): Change {
    return { collection: this.name, source: 'local', added: this.#expected.map(({ id }) => id), updated: [], removed: [], rows: this.#expected }
  }

  /** What was expected is there, or will never be. */
  expectNothing(): void {
    this.#expected = []
  }

  /** Notes what changed; nothing is fetched. Returns what listeners need. */
  apply(change: Change): Delivery {
    const delivery = { change, before: this.#before }
    this.#version++
    this.#snapshot = null
    this.#tombstones = null
    if (change.all) {
      this.#forget()
      return delivery
    }
    if (change.renamed !== undefined) this.#rename(change.renamed)
    for (const id of change.removed) {
      this.#stale.delete(id)
      if (this.#loaded && this.#slots.has(id)) this.#slots.set(id, GONE)
      else this.#slots.delete(id)
    }
    const slots = this.#slots
    for (const row of change.rows ?? []) slots.set(row.id, row)
    if (this.#stale.size > 0) for (const row of change.rows ?? []) this.#stale.delete(row.id)
    for (const ids of [change.rows === undefined ? change.added : [], change.updated]) {
      for (const id of ids) {
        const slot = this.#slots.get(id)
        if (this.#loaded && (slot === undefined || slot === GONE)) this.#slots.set(id, null)
        if (this.#loaded || slot !== undefined) this.#stale.add(id)
      }
    }
    return delivery
  }

  /** Reads what is known once more, before the engine goes. */
  keep(): void {
    if (this.#loaded) this.all()
  }

  /** The same records in the same places, under other ids. */
  #rename(pairs: readonly (readonly [string, string])[]): void {
    const renamed = new Map(pairs)
    const arrived = new Set(renamed.values())
    const slots = new Map<string, AnyRow | null>()
    for (const [id, slot] of this.#slots) {
      const to = renamed.get(id)
      if (to !== undefined) slots.set(to, null)
      else if (!arrived.has(id)) slots.set(id, slot)
    }
    for (const [from, to] of pairs) {
      this.#aliases.set(from, to)
      this.#stale.delete(from)
    }
    this.#slots = slots
  }

  #forget(): void {
    this.#loaded = false
    this.#snapshot = null
    for (const id of this.#slots.keys()) this.#stale.add(id)
  }

  #load(): void {
    const engine = this.#reader.engine
    if (engine === null) return
    const rows = parseRows(engine.rows(this.name))
    const known = this.#slots
    this.#slots = new Map()
    this.#stale = new Set()
    this.#loaded = true
    if (known.size === 0) this.#unlisted = freeze(rows)
    else for (const row of rows) this.#slots.set(row.id, newer(known.get(row.id), row))
  }

  #fetch(ids: readonly string[]): void {
    const engine = this.#reader.engine
    if (ids.length === 0 || engine === null) return
    const rows = JSON.parse(engine.rowsOf(this.name, JSON.stringify(ids))) as (AnyRow | null)[]
    ids.forEach((id, at) => this.#keep(id, rows[at] ?? undefined))
  }

  #keep(id: string, row: AnyRow | undefined): AnyRow | undefined {
    this.#stale.delete(id)
    if (row === undefined || row._deletedAt != null) {
      if (this.#loaded && this.#slots.has(id)) this.#slots.set(id, GONE)
      else this.#slots.delete(id)
      return undefined
    }
    const kept = newer(this.#slots.get(id), row)
    this.#slots.set(id, kept)
    return kept
  }
}

/** Rows as the engine passes them: a JSON array, then pieces of one JSON object per line. No JSON text of ours has a line break in it. */
function parseRows([array = '[]', ...pieces]: readonly string[]): AnyRow[] {
  const rows = JSON.parse(array) as AnyRow[]
  for (const piece of pieces) for (const row of JSON.parse(`[${piece.replaceAll('\n', ',')}]`) as AnyRow[]) rows.push(row)
  return rows
}

/** The row that was there if nothing in it changed. */
function newer(before: AnyRow | null | undefined, row: AnyRow): AnyRow {
  return before && sameValue(before, row) ? before : freeze(row)
}
