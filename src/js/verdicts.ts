// Who waits for the server's verdict on which mutation. Mutation ids come as runs, so 10,000 rows of one write are one entry.

import type { Spans } from './engine.js'
import type { Verdict } from './types.js'

const CLOSED: Verdict = Object.freeze({ status: 'closed' })

/** Collects the verdicts of one write. */
class Collector {
  readonly verdicts: Verdict[]
  missing = 0

  constructor(length: number, readonly done: (verdicts: readonly Verdict[]) => void) {
    this.verdicts = new Array<Verdict>(length)
  }

  /** Whether this was the first verdict at that place. */
  put(at: number, verdict: Verdict): boolean {
    if (this.verdicts[at] !== undefined) return false
    this.verdicts[at] = verdict
    if (--this.missing === 0) this.done(this.verdicts)
    return true
  }
}

interface Place { readonly collector: Collector; readonly at: number }
interface Run extends Place { readonly client: string; readonly from: number; readonly count: number; left: number }

/** The verdict on one mutation, for all writes that ended up in it. Whoever keeps none of them keeps nothing: a device that is
 * offline for a day writes the same records a thousand times. */
export class Awaited {
  #verdict: Verdict | null
  #told: ((verdict: Verdict) => void)[] = []

  constructor(verdict: Verdict | null = null) {
    this.#verdict = verdict
  }

  /** Tells the verdict, at once where it is there. */
  tell(told: (verdict: Verdict) => void): void {
    if (this.#verdict === null) this.#told.push(told)
    else told(this.#verdict)
  }

  settle(verdict: Verdict): void {
    if (this.#verdict !== null) return
    this.#verdict = verdict
    for (const told of this.#told.splice(0)) told(verdict)
  }
}

export class Verdicts {
  /** Mutation id -> who waits; several writes can end up in one mutation. */
  readonly #singles = new Map<string, Place[]>()
  readonly #runs = new Set<Run>()
  readonly #awaited = new Map<string, Awaited>()
  #closed = false

  /** The verdict on the mutation of a single write. Where nothing was queued, `absent` is the verdict. */
  of([span]: Spans, absent: Verdict): Awaited {
    if (this.#closed) return new Awaited(CLOSED)
    if (span == null) return new Awaited(absent)
    let awaited = this.#awaited.get(span.first)
    if (awaited === undefined) this.#awaited.set(span.first, awaited = new Awaited())
    return awaited
  }

  /**
   * Calls `done` once there is a verdict for every mutation. Where nothing was queued, `absent` is the verdict.
   */
  watch(spans: Spans, absent: Verdict, done: (verdicts: readonly Verdict[]) => void): void {
    const length = spans.reduce((sum, span) => sum + (span?.count ?? 1), 0)
    const collector = new Collector(length, done)
    collector.missing = length
    if (length === 0) done([])
    let at = 0
    for (const span of spans) {
      if (this.#closed) collector.put(at++, CLOSED)
      else if (span === null) collector.put(at++, absent)
      else {
        if (span.count === 1) this.#add(span.first, { collector, at })
        else this.#runs.add({ collector, at, ...parse(span.first), count: span.count, left: span.count })
        at += span.count
      }
    }
  }

  /** A verdict has come; with `count` on so many mutations from this one on, which have the next `rev` each. */
  settle(mutationId: string, verdict: Verdict, count = 1): void {
    if (count === 1 && this.#runs.size === 0) return this.#tell(mutationId, verdict)
    const { client, from } = parse(mutationId)
    const nth = (n: number): Verdict => n > 0 && 'rev' in verdict ? { ...verdict, mutationId: `${client}:${from + n}`, rev: verdict.rev + n } : verdict
    if (this.#awaited.size + this.#singles.size > 0) for (let n = 0; n < count; n++) this.#tell(n === 0 ? mutationId : `${client}:${from + n}`, nth(n))
    for (const run of this.#runs) {
      if (client !== run.client) continue
      const last = Math.min(from + count, run.from + run.count)
      for (let number = Math.max(from, run.from); number < last; number++) {
        if (run.collector.put(run.at + number - run.from, nth(number - from)) && --run.left === 0) this.#runs.delete(run)
      }
    }
  }

  #tell(mutationId: string, verdict: Verdict): void {
    this.#awaited.get(mutationId)?.settle(verdict)
    this.#awaited.delete(mutationId)
    const places = this.#singles.get(mutationId)
    this.#singles.delete(mutationId)
    for (const { collector, at } of places ?? []) collector.put(at, verdict)
  }

  /** The mutation goes again under another id: who waited for the one waits for the other. */
  move(from: string, to: string): void {
    const awaited = this.#awaited.get(from)
    if (awaited !== undefined) {
      this.#awaited.delete(from)
      const there = this.#awaited.get(to)
      if (there === undefined) this.#awaited.set(to, awaited)
      else there.tell((verdict) => awaited.settle(verdict))
    }
    for (const place of this.#singles.get(from) ?? []) this.#add(to, place)
    this.#singles.delete(from)
    if (this.#runs.size === 0) return
    const { client, from: number } = parse(from)
    for (const run of this.#runs) {
      const offset = number - run.from
      if (client !== run.client || offset < 0 || offset >= run.count) continue
      this.#add(to, { collector: run.collector, at: run.at + offset })
      if (--run.left === 0) this.#runs.delete(run)
    }
  }

  /** Nobody will hear more: what is open is `closed`. */
  close(): void {
    this.#closed = true
    for (const awaited of this.#awaited.values()) awaited.settle(CLOSED)
    this.#awaited.clear()
    for (const places of this.#singles.values()) for (const { collector, at } of places) collector.put(at, CLOSED)
    for (const run of this.#runs) for (let n = 0; n < run.count; n++) run.collector.put(run.at + n, CLOSED)
    this.#singles.clear()
    this.#runs.clear()
  }

  #add(mutationId: string, place: Place): void {
    const places = this.#singles.get(mutationId)
    if (places === undefined) this.#singles.set(mutationId, [place])
    else places.push(place)
  }
}

function parse(mutationId: string): { client: string; from: number } {
  const colon = mutationId.lastIndexOf(':')
  return { client: mutationId.slice(0, colon), from: Number(mutationId.slice(colon + 1)) }
}
