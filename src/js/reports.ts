// What waits and what went wrong: the queue, dead letters and conflicts, as lists and as decisions about them.

import type { Answer, Engine, OpResult, Written } from './engine.js'
import { HomingError, type toHomingError } from './errors.js'
import { Source } from './observable.js'
import type { Choice, Conflict, ConflictPatches, Database, DeadLetter, Mutation, PatchOperation, Write } from './types.js'
import { encodeValue } from './validate.js'
import { freeze, isObject } from './values.js'
import { GroupTicket, RecordWrite, refuse, type Judge, type JudgeOfOne, type Ticket } from './writes.js'
import type { Rows } from './rows.js'

/** What is needed of the session. */
interface Host extends Judge, JudgeOfOne {
  readonly engine: Engine | null
  readonly name: string
  readonly scope: string
  refresh(): void
  open(phase: 'write'): Engine
  rows(collection: string): Rows
  order<T extends Ticket>(call: (engine: Engine) => Answer<Written>, make: (results: readonly OpResult[]) => T): T
  failure(thrown: unknown, phase: 'write'): ReturnType<typeof toHomingError>
}

/** A list that the engine keeps; the same array until its text changes. */
class Listing<T> extends Source<readonly T[]> {
  constructor(host: Host, read: (engine: Engine) => string) {
    let text = '[]'
    let list: readonly T[] = Object.freeze([])
    const none = list
    super(() => {
      host.refresh()
      const now = host.engine === null ? text : read(host.engine)
      if (now !== text) {
        text = now
        list = freeze(JSON.parse(now) as T[])
      }
      return list
    }, none)
  }

  changed(): void {
    this.listeners.emit()
  }

  list(): readonly T[] {
    return this.getSnapshot()
  }
}

/** What the server refused for good. */
class DeadLetters extends Listing<DeadLetter> {
  readonly #host: Host

  constructor(host: Host) {
    super(host, (engine) => engine.deadLetters())
    this.#host = host
  }

  retry = (id: string, edited?: object): Write<unknown> => {
    const letter = this.list().find((one) => one.id === id)
    try {
      const text = edited === undefined ? undefined : encodeValue(edited)
      return decide(this.#host, letter, (engine) => engine.retryDead(String(id), text))
    } catch (error) {
      return refuse(this.#host.failure(error, 'write'), letter?.recordId)
    }
  }

  discard = (id: string, options?: { cascade?: boolean }): Promise<void> => discard(this.#host, this.list(), id, (engine) => engine.discardDead(String(id), options?.cascade === true))

  export = async (): Promise<Blob> => {
    const { name, scope } = this.#host
    return new Blob([JSON.stringify({ name, scope, at: new Date().toISOString(), deadLetters: this.list() }, null, 1)], { type: 'application/json' })
  }
}

/** Versions that met. */
class Conflicts extends Listing<Conflict> {
  readonly #host: Host

  constructor(host: Host) {
    super(host, (engine) => engine.conflicts())
    this.#host = host
  }

  override list(filter: { status?: Conflict['status']; collection?: string; recordId?: string; limit?: number } = {}): readonly Conflict[] {
    const { limit, ...wanted } = filter
    const found = matching(this.getSnapshot(), wanted)
    return limit === undefined ? found : Object.freeze(found.slice(0, Math.max(0, limit)))
  }

  get(id: string): Conflict | undefined {
    return this.getSnapshot().find((conflict) => conflict.id === id)
  }

  resolve = (id: string, choice: Choice<Record<string, unknown>>): Write<unknown> => {
    const conflict = this.get(id)
    try {
      const text = isObject(choice) ? encodePatch(choice) : checkWord(choice)
      return decide(this.#host, conflict, (engine) => engine.resolve(String(id), text))
    } catch (error) {
      return refuse(this.#host.failure(error, 'write'), conflict?.recordId)
    }
  }

  patch(id: string): ConflictPatches | undefined {
    return read(this.#host, (engine) => engine.conflictPatch(String(id)))
  }

  reinstate = (id: string): Write<unknown> => {
    const conflict = this.get(id)
    try {
      return decide(this.#host, conflict, (engine) => engine.reinstate(String(id)))
    } catch (error) {
      return refuse(this.#host.failure(error, 'write'), conflict?.recordId)
    }
  }

  purge = async ({ before }: { before?: string } = {}): Promise<number> => {
    try {
      return await this.#host.open('write').purge(before === undefined ? undefined : String(before))
    } catch (error) {
      throw this.#host.failure(error, 'write')
    }
  }
}

function checkWord(choice: unknown): string {
  if (choice === 'mine' || choice === 'theirs' || choice === 'both') return choice
  throw new HomingError({ code: 'invalid-record', message: "A decision is 'mine', 'theirs', 'both' or an object of fields.", phase: 'write', path: '' })
}

/** JSON has no `undefined`: fields to remove travel beside the others. */
function encodePatch(patch: object): string {
  const text = encodeValue(patch)
  const unset = Object.entries(patch).filter(([, value]) => value === undefined).map(([name]) => name)
  return `{"set":${text},"unset":${JSON.stringify(unset)}}`
}

function decide(host: Host, about: { readonly collection: string; readonly recordId: string } | undefined, call: (engine: Engine) => Answer<Written>): Write<unknown> {
  if (about !== undefined) host.rows(about.collection).readUnread(about.recordId)
  return host.order(call, ([result]) => new RecordWrite<unknown>(host.rows(about?.collection ?? ''), result?.ids[0] ?? about?.recordId ?? '', host, about !== undefined))
}

async function discard(host: Host, list: readonly Mutation[], id: string, call: (engine: Engine) => Answer<Written>): Promise<void> {
  const collection = list.find((one) => one.id === id)?.collection ?? ''
  try {
    await host.order(call, () => new GroupTicket<void>(host, [collection], { durable: () => {} }))
  } catch (error) {
    throw host.failure(error, 'write')
  }
}

type QueueView = Database<object>['queue']

/** Mutations not yet settled. */
class Queue implements QueueView {
  readonly #host: Host
  readonly #listing: Listing<Mutation>

  constructor(host: Host) {
    this.#host = host
    this.#listing = new Listing<Mutation>(host, (engine) => engine.queue())
  }

  list(filter: { collection?: string; recordId?: string } = {}): readonly Mutation[] {
    return matching(this.#listing.getSnapshot(), filter)
  }

  explain(): readonly { mutationId: string; reason: string; until?: string; waitingFor?: string }[] {
    this.#host.refresh()
    return this.#host.engine === null ? [] : JSON.parse(this.#host.engine.explain()) as ReturnType<QueueView['explain']>
  }

  patch(mutationId: string): readonly PatchOperation[] | undefined {
    return read(this.#host, (engine) => engine.patch(String(mutationId)))
  }

  discard(mutationId: string): Promise<void> {
    return discard(this.#host, this.#listing.getSnapshot(), mutationId, (engine) => engine.discard(String(mutationId)))
  }
}

function read<T>(host: Host, from: (engine: Engine) => string | undefined): T | undefined {
  host.refresh()
  const text = host.engine === null ? undefined : from(host.engine)
  return text === undefined ? undefined : freeze(JSON.parse(text) as T)
}

function matching<T extends object>(list: readonly T[], wanted: Partial<T>): readonly T[] {
  const conditions = Object.entries(wanted).filter(([, value]) => value !== undefined)
  return conditions.length === 0 ? list : Object.freeze(list.filter((one) => conditions.every(([name, value]) => one[name as keyof T] === value)))
}

export class Reports {
  readonly queue: Queue
  readonly deadLetters: DeadLetters
  readonly conflicts: Conflicts

  constructor(host: Host) {
    this.queue = new Queue(host)
    this.deadLetters = new DeadLetters(host)
    this.conflicts = new Conflicts(host)
  }
}
