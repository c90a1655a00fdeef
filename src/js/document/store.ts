// The database as the document modules see it: which names exist and what they are, and how their records merge.

import type { AnyRow } from '../query.js'
import type { Session } from '../session.js'
import type { Conflict } from '../types.js'
import { ARCHIVE, ROW_PREFIX, SINGLETON, localOf, sameShared, setsOf, steps, type Members } from '../values.js'
import { ROOT, ancestors, isBelow, shapeOf, without, type Known, type Shape } from './mapping.js'
import { Seen } from './matching.js'

/** What a page has seen of everything: one per tree it exported. */
export class Baseline {
  readonly #seen = new Map<string, Seen>()
  /** The archive as the tree shows it; null: it was never looked at. */
  archive: readonly Conflict[] | null = null

  /** What was seen of a collection; nothing, if it did not exist. */
  of(name: string): Seen {
    let seen = this.#seen.get(name)
    if (seen === undefined) this.#seen.set(name, seen = new Seen())
    return seen
  }

  see(name: string, snapshot: readonly AnyRow[]): void {
    this.#seen.set(name, new Seen(snapshot))
  }

  names(): readonly string[] {
    return [...this.#seen.keys()]
  }
}

/** The names in the store when it was looked at. */
export class Store implements Known {
  readonly session: Session
  readonly root: AnyRow | undefined
  /** `$root` as a tree shows it: without values whose place has rows or a singleton. */
  readonly shownRoot: AnyRow | undefined
  readonly shape: Shape
  /** Stored collections and singletons, without Homing's own. */
  readonly kinds: ReadonlyMap<string, 'rows' | 'one'>
  /** Those that hold something. */
  readonly #full = new Set<string>()

  constructor(session: Session) {
    this.session = session
    this.root = session.rows(ROOT).get(SINGLETON)
    this.shape = shapeOf(this.root)
    const kinds = new Map<string, 'rows' | 'one'>()
    for (const [name, count] of Object.entries(session.counts())) {
      if (name === ARCHIVE || name.startsWith('$')) continue
      const isOne = count === 1 || session.declaration.collections[name]?.singleton === true
      kinds.set(name, isOne && session.rows(name).get(SINGLETON) !== undefined ? 'one' : 'rows')
      if (count > 0) this.#full.add(name)
    }
    this.kinds = kinds
    const full = [...this.#full]
    const empty = Object.keys(this.shape).filter((pointer) => this.shape[pointer] === 'rows').map((pointer) => steps(pointer).join('.'))
    const lists = empty.filter((name) => this.hasPlace(name) && !full.some((one) => isBelow(one, name)))
    this.shownRoot = this.root && [...lists, ...full].map((name) => name.split('.')).reduce(without<AnyRow>, this.root)
  }

  kindOf(name: string): 'rows' | 'one' | undefined {
    return this.session.declaration.collections[name]?.singleton === true ? 'one' : this.kinds.get(name)
  }

  /** Whether a tree shows it in a place of its own, not below a singleton or rows. */
  hasPlace(name: string): boolean {
    return !ancestors(name).some((above) => this.#full.has(above))
  }

  contains(name: string): boolean {
    const prefix = `${name}.`
    return [...this.kinds.keys(), ...Object.keys(this.session.declaration.collections)].some((one) => one.startsWith(prefix))
  }

  /** The members of its records that never leave the device. */
  local(name: string): readonly string[] {
    return localOf(this.session.declaration.collections[name])
  }

  /** Whether two versions of a record of it say the same to everybody. */
  same(name: string, a: Members, b: Members): boolean {
    const declared = this.session.declaration.collections[name]
    return sameShared(a, b, localOf(declared), setsOf(declared))
  }

  /** Fields in which what several people did is joined: counters and sets. */
  joined(name: string): readonly string[] {
    const fields = Object.entries(this.session.declaration.collections[name]?.fields ?? {})
    return fields.filter(([, kind]) => kind === 'counter' || kind === 'set').map(([field]) => field)
  }

  /** How versions of a record merge: as declared, else by the kind of record. */
  policy(name: string, id: string): string {
    const declared = this.session.declaration.collections[name]
    if (declared?.merge !== undefined) return declared.merge
    if (declared?.singleton === true || id === SINGLETON) return 'fields'
    return id.startsWith(ROW_PREFIX) ? 'append-only' : 'lww'
  }
}
