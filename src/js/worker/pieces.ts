// Large inserts on their way: shown and handed over piece by piece, so that no task of the page is long. Whoever looks at the rows, or
// writes something else, has all of them at once. Not here: checking the records (`../operations.ts`), other writes (`remote.ts`).

import { toHomingError, type HomingError } from '../errors.js'
import { insertBatchHead, type Made } from '../operations.js'
import type { AnyRow } from '../query.js'
import { checkTexts } from '../validate.js'
import type { Mirrors, Named } from './mirrors.js'
import type { ToWorker } from './protocol.js'

/** How long a piece may take: what is left of a frame is for everybody else. */
const PIECE_MS = 3
/** Looking at the clock costs as much as a small record. */
const LOOK_EVERY = 16

const UTF8 = new TextEncoder()

/** A write of new records, as the page shows it. */
export interface Insert {
  readonly seq: number
  readonly now: number
  readonly at: number
  readonly collection: string
  readonly records: readonly Made[]
}

/** An insert and how much of it was shown. */
interface Begun { readonly insert: Insert; readonly stamp: string; readonly rows: AnyRow[]; readonly named: Named[] }

/** What they are shown in, and told to. */
interface Ground {
  readonly mirrors: Mirrors
  post(message: ToWorker, ...buffers: ArrayBuffer[]): void
  notify(): void
  /** It cannot be written as it is. */
  refuse(seq: number, error: HomingError): void
}

export class Pieces {
  readonly #ground: Ground
  #begun: Begun[] = []
  #next: MessageChannel | null = null

  constructor(ground: Ground) {
    this.#ground = ground
  }

  /** Begins in a task of its own. Returns the list of what it touches, which grows. */
  add(insert: Insert): readonly Named[] {
    const begun = { insert, stamp: new Date(insert.at).toISOString(), rows: [], named: [] }
    if (this.#begun.push(begun) === 1) this.#schedule()
    return begun.named
  }

  /** Everything that is left, now. */
  finish(): void {
    while (this.#begun.length > 0) this.#work(Infinity)
  }

  /** Nobody will hear of it any more. */
  drop(): void {
    this.#begun = []
    this.#next?.port1.close()
  }

  #work(until: number): void {
    const begun = this.#begun[0]
    if (begun === undefined) return
    const { insert: { seq, now, at, collection, records }, named, rows } = begun
    let lines = ''
    const first = named.length
    do {
      for (const record of records.slice(named.length, named.length + LOOK_EVERY)) {
        lines += `${JSON.stringify(record)}\n`
        this.#show(begun, record)
      }
    } while (named.length < records.length && performance.now() < until)
    const refusal = problemOf(lines, records.slice(first, named.length), first)
    if (refusal === null) {
      const bytes = UTF8.encode(lines)
      this.#ground.post({ kind: 'lines', bytes }, bytes.buffer)
      if (named.length < records.length) return
    }
    this.#begun.shift()
    this.#ground.mirrors.tell({ collection, source: 'local', added: rows.map(({ id }) => id), updated: [], removed: [], rows })
    if (refusal === null) this.#ground.post({ kind: 'write', seq, batch: UTF8.encode(insertBatchHead(collection, records.length)), now, at, made: [], keyed: false, pieces: true })
    else {
      this.#ground.post({ kind: 'forget' })
      this.#ground.refuse(seq, refusal)
    }
    this.#ground.notify()
  }

  #show({ insert, stamp, rows, named }: Begun, record: Made): void {
    const [{ collection, seq, at }, { mirrors }, { id }] = [insert, this.#ground, record]
    record['_updatedAt'] = stamp
    record['_deletedAt'] = null
    const row = Object.freeze(record) as unknown as AnyRow
    named.push({ collection, id })
    if (mirrors.currentId(id) === id && mirrors.of(collection).insert(id, record, insert)) rows.push(row)
    else mirrors.touch([{ collection, id }], (mirror, known) => mirror.write(known, { op: 'insert', record }, at, seq))
  }

  /** Not a timer: those of a hidden page come once a second, or once a minute. */
  #schedule(): void {
    if (this.#next === null) {
      this.#next = new MessageChannel()
      this.#next.port1.onmessage = () => {
        this.#work(performance.now() + PIECE_MS)
        if (this.#begun.length > 0) this.#schedule()
      }
    }
    this.#next.port2.postMessage(null)
  }
}

function problemOf(lines: string, records: readonly Made[], first: number): HomingError | null {
  try {
    checkTexts(lines, records, first)
    return null
  } catch (error) {
    return toHomingError(error, 'write')
  }
}
