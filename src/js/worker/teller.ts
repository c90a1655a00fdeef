// What the worker tells the page after something changed: rows as text, in pieces; lists and texts where they are other ones now.
// Not here: when (`host.ts`), what the page makes of it (`remote.ts`).

import { read, type Change, type Drained, type HostedEngine } from '../engine.js'
import type { ErrorDetail } from '../errors.js'
import type { Conflict, DeadLetter, EventMap, Mutation } from '../types.js'
import type { Members } from '../values.js'
import { parseBatch, understand } from './batch.js'
import { ToldList, inParts } from './lists.js'
import { NOTHING_LOCAL, next, type Local } from './provisional.js'
import { MANY, PIECE_BYTES, PIECE_ROWS, recordKey, type FromWorker, type Listed, type ListNews, type News, type Opening, type Piece, type RowsNews, type Standing, type Write } from './protocol.js'
import { isDead, sameSlot } from './slot.js'

const INTERVAL_MS = 250
/** And at longer ones where that takes long: this many times as long. */
const SHARE = 20
/** From so many new rows on it is worth finding out that the page has them already. */
const BULK = 50

const UTF8 = new TextDecoder()
const TO_UTF8 = new TextEncoder()

type Text = 'status' | 'metrics' | 'ownConflicts'
/** A standing as the engine tells it. */
interface Stands { readonly collection: string; readonly id: string; readonly state: string; readonly confirmed: object | null }
type Reason = { readonly mutationId: string }
type Draft = { -readonly [K in keyof News]: News[K] }

const NOTHING: News = { kind: 'news', rows: [], planned: [], refused: [], drained: {} }

export class Teller {
  readonly #engine: HostedEngine
  readonly #remapped: readonly string[]
  readonly #local: ReadonlyMap<string, Local>
  readonly #post: (message: FromWorker, transfer?: Transferable[]) => void
  /** Tickets of the engine -> those of the page. */
  readonly #tickets = new Map<number, number>()
  #planned: { readonly seq: number; readonly write: Write | null; readonly id: string | undefined }[] = []
  #refused: { readonly seq: number; readonly error: ErrorDetail }[] = []
  readonly #told = new Map<Text, string>()
  readonly #queue = new ToldList()
  readonly #explain = new ToldList()
  readonly #deadLetters = new ToldList()
  readonly #conflicts = new ToldList()
  readonly #standings = new ToldList()
  /** When they may be made again. */
  #listsAt = 0
  #owed: ReturnType<typeof setTimeout> | null = null
  /** What is to be told with the lists: before them nobody would see it. */
  #late = { deadLetters: false, conflicts: false }

  constructor(engine: HostedEngine, { remapped, local }: Pick<Opening, 'remapped' | 'local'>, post: (message: FromWorker, transfer?: Transferable[]) => void) {
    this.#engine = engine
    this.#remapped = remapped
    this.#local = new Map(local)
    this.#post = post
  }

  planned(seq: number, ticket: number, write: Write | null, id?: string): void {
    this.#tickets.set(ticket, seq)
    this.#planned.push({ seq, write, id })
  }

  refused(seq: number, error: ErrorDetail): void {
    this.#refused.push({ seq, error })
  }

  /** Everything there is; before anybody looks. */
  tellAll(): void {
    const known: RowsNews[] = []
    for (const collection of Object.keys(JSON.parse(this.#engine.collections()) as object)) {
      const rows = this.#everyRow(collection)
      this.#tellPieces(collection, rows)
      known.push({ collection, source: 'local', all: false, pieces: 0, gone: [], renamed: this.#pairs(collection, rows) })
    }
    this.#engine.drain()
    const news: Draft = { kind: 'news', rows: known, planned: [], refused: [], drained: {} }
    this.#texts(news, ['status', 'metrics'])
    this.#lists(news)
    this.#post(news)
  }

  /** What is new. `whole`: also the lists, however long they are. */
  tell(whole: boolean): void {
    const { changes = [], ...drained } = read(this.#engine.drain())
    const planned = this.#planned
    const exact = new Set<number>()
    const shown = new Set<string>()
    for (const { seq, write } of planned) {
      const keys = write === null ? null : this.#asShown(write)
      if (keys === null) continue
      exact.add(seq)
      for (const key of keys) shown.add(key)
    }
    const moved = this.#moved(changes, drained.events)
    const rows = [...moved, ...changes.map((change): RowsNews => {
      const { collection, source, renamed } = change
      if (change.all === true) return this.#allOf(collection, source)
      const ids = [...change.added, ...change.updated, ...change.removed].filter((id) => !shown.has(recordKey(collection, id)))
      return this.#some(collection, source, ids, renamed)
    })]
    const news: Draft = {
      kind: 'news', rows, refused: this.#refused, planned: planned.map(({ seq, id }) => ({ seq, exact: exact.has(seq), id })),
      drained: { ...drained, durable: this.#ticketed(drained.durable), failed: this.#ticketed(drained.failed) },
    }
    this.#late.deadLetters ||= drained.deadLetters === true
    this.#late.conflicts ||= drained.conflicts === true
    const lists = drained.status === true || drained.queue === true || drained.deadLetters === true || drained.conflicts === true
    this.#planned = []
    this.#refused = []
    if (drained.status === true || lists) this.#texts(news, ['status', 'metrics'])
    if (whole ? lists || this.#owed !== null : lists && !this.#defers()) this.#lists(news)
    else if (this.#isLong()) this.#list(news, 'standings', this.#standings.more(changes.flatMap((change) => this.#edited(change))))
    if (lists || rows.length + news.planned.length + news.refused.length > 0 || Object.values(drained).some((list) => Array.isArray(list) && list.length > 0)) this.#post(news)
  }

  /**
   * Records that the server has named while they were deleted: no change tells of them, but their old ids stay valid. Before what else
   * is told of them, as the engine learns ids before everything else of an answer.
   */
  #moved(changes: readonly Change[], events: Drained['events'] = []): RowsNews[] {
    const told = new Set(changes.flatMap(({ collection, renamed = [] }) => renamed.map(([from]) => recordKey(collection, from))))
    const moved = new Map<string, [string, string][]>()
    for (const { type, detail } of events) {
      if (type !== 'idremapped') continue
      const { collection, from, to } = detail as EventMap['idremapped']
      if (told.has(recordKey(collection, from))) continue
      const pairs = moved.get(collection)
      if (pairs === undefined) moved.set(collection, [[from, to]])
      else pairs.push([from, to])
    }
    if (moved.size === 0) return []
    // Those of a lazy collection come with its rows.
    const loaded = JSON.parse(this.#engine.collections()) as object
    return [...moved].filter(([collection]) => Object.hasOwn(loaded, collection)).map(([collection, pairs]) => this.#some(collection, 'remap', pairs.map(([, to]) => to), pairs))
  }

  /** These records of a collection. */
  #some(collection: string, source: Change['source'], ids: readonly string[], renamed: RowsNews['renamed']): RowsNews {
    const found: [string, string][] = []
    const gone: string[] = []
    for (const id of ids) {
      // The engine finds a record by its old id, too.
      const text = this.#engine.currentId(id) === id ? this.#engine.row(collection, id) : undefined
      if (text === undefined) gone.push(id)
      else found.push([id, text])
    }
    return { collection, source, all: false, pieces: this.#tellPieces(collection, found), gone, renamed }
  }

  #allOf(collection: string, source: Change['source']): RowsNews {
    const rows = this.#everyRow(collection)
    return { collection, source, all: true, pieces: this.#tellPieces(collection, rows), gone: [], renamed: this.#pairs(collection, rows) }
  }

  /** The ids that records had first, where the server has given others. */
  #pairs(collection: string, rows: readonly (readonly [string, string])[]): RowsNews['renamed'] {
    if (!this.#remapped.includes(collection)) return undefined
    return rows.map(([id]) => [this.#engine.firstId(id), id] as const).filter(([first, id]) => first !== id)
  }

  #ticketed<T extends { readonly ticket: number }>(list: readonly T[] = []): T[] {
    return list.map((one) => {
      const ticket = this.#tickets.get(one.ticket) ?? 0
      this.#tickets.delete(one.ticket)
      return { ...one, ticket }
    })
  }

  #texts(news: Draft, names: readonly Text[]): void {
    for (const name of names) {
      const text = this.#engine[name]()
      if (this.#told.get(name) !== text) news[name] = text
      this.#told.set(name, text)
    }
  }

  /** Whether the lists are left for later: long ones would keep the answers to writes waiting. */
  #defers(): boolean {
    if (!this.#isLong()) return false
    this.#owed ??= setTimeout(() => {
      this.#owed = null
      const news: Draft = { ...NOTHING, drained: { queue: true } }
      this.#lists(news)
      this.#post(news)
    }, Math.max(0, this.#listsAt - performance.now()))
    return true
  }

  /** Adds the lists; parts of long ones are posted ahead. */
  #lists(news: Draft): void {
    if (this.#owed !== null) clearTimeout(this.#owed)
    this.#owed = null
    const began = performance.now()
    const engine = this.#engine
    this.#texts(news, ['ownConflicts'])
    // What creates is all addition: the page knows its patch without being told.
    const patchOf = ({ id, op }: Mutation): string | undefined => (op === 'create' ? undefined : engine.patch(id))
    this.#list(news, 'deadLetters', this.#deadLetters.news(JSON.parse(engine.deadLetters()) as DeadLetter[], ({ id }) => id, patchOf))
    if (this.#isLong()) this.#tellWhole()
    else {
      this.#list(news, 'queue', this.#queue.news(JSON.parse(engine.queue()) as Mutation[], ({ id }) => id, patchOf))
      this.#list(news, 'explain', this.#explain.news(JSON.parse(engine.explain()) as Reason[], ({ mutationId }) => mutationId))
    }
    this.#list(news, 'conflicts', this.#conflicts.news(JSON.parse(engine.conflicts()) as Conflict[], ({ id }) => id, ({ id }) => engine.conflictPatch(id)))
    const standings = JSON.parse(engine.standings(this.#isLong())) as Stands[]
    this.#list(news, 'standings', this.#standings.news(standings.map(standing), ({ id }) => id))
    const { deadLetters, conflicts } = this.#late
    news.drained = { ...news.drained, ...deadLetters && { deadLetters }, ...conflicts && { conflicts } }
    this.#late = { deadLetters: false, conflicts: false }
    const now = performance.now()
    this.#listsAt = now + Math.max(INTERVAL_MS, SHARE * (now - began))
  }

  /** Where records stand that the server has and that were edited here: until the lists come nobody else says which version it has. */
  #edited({ collection, source, updated, removed }: Change): Listed[] {
    if (source !== 'local') return []
    // Of very many the lists tell.
    return [...updated, ...removed].slice(0, PIECE_ROWS).flatMap((id) => {
      const text = this.#engine.confirmed(collection, id)
      if (text === undefined || text === this.#engine.row(collection, id)) return []
      const stands = standing({ collection, id, state: this.#engine.state(collection, id), confirmed: JSON.parse(text) as object })
      return [{ id: stands.id, text: JSON.stringify(stands) }]
    })
  }

  #list(news: Draft, name: 'queue' | 'explain' | 'deadLetters' | 'conflicts' | 'standings', list: ListNews | null): void {
    if (list === null) return
    const parts = inParts(list, PIECE_ROWS)
    const last = parts.pop()
    for (const part of parts) this.#post({ ...NOTHING, [name]: part })
    if (last !== undefined) news[name] = last
  }

  #isLong(): boolean {
    const { pending } = JSON.parse(this.#told.get('status') ?? '{}') as { pending: number }
    return pending > MANY
  }

  /** The bytes change hands, and the page does not look at them unasked. */
  #tellWhole(): void {
    const [queue, patches, explain] = [this.#engine.queueBytes(), this.#engine.patchBytes(), this.#engine.explainBytes()]
    this.#post({ ...NOTHING, queue: { whole: queue, patches }, explain: { whole: explain } }, [queue.buffer, patches.buffer, explain.buffer])
    this.#queue.toldWhole()
    this.#explain.toldWhole()
  }

  /** The records of a bulk write, where their rows are what the page shows: then they need not cross back. */
  #asShown({ batch, made, at }: Write): string[] | null {
    let used = 0
    const { touched, isNew } = understand(parseBatch(UTF8.decode(batch)), () => made[used++]?.id ?? '', () => undefined, (name) => this.#local.get(name) ?? NOTHING_LOCAL)
    if (!isNew || touched.length < BULK) return null
    const same = touched.every(({ collection, id, step }) => sameSlot(this.#engine.row(collection, id), next(step, id, undefined, at)))
    return same ? touched.map(({ collection, id }) => recordKey(collection, id)) : null
  }

  #everyRow(collection: string): [string, string][] {
    const [array = '[]', ...pieces] = this.#engine.rows(collection)
    const rows = [...JSON.parse(array) as Members[], ...JSON.parse(this.#engine.deleted(collection)) as Members[]].map((row): [string, string] => [String(row['id']), JSON.stringify(row)])
    for (const piece of pieces) for (const text of piece.split('\n')) if (text !== '') rows.push([(JSON.parse(text) as { id: string }).id, text])
    return rows
  }

  /** Posts rows ahead of the news that name them; how many pieces. */
  #tellPieces(collection: string, rows: readonly (readonly [string, string])[]): number {
    let count = 0
    for (let at = 0; at < rows.length;) {
      const ids: string[] = []
      const lines: Uint8Array[] = []
      const ends: number[] = []
      const dead: number[] = []
      for (let length = 0; at < rows.length && ids.length < PIECE_ROWS && length < PIECE_BYTES; at++) {
        const [id, text] = rows[at] as readonly [string, string]
        if (isDead(text)) dead.push(ids.length)
        const line = TO_UTF8.encode(`${text}\n`)
        ids.push(id)
        lines.push(line)
        ends.push(length += line.length)
      }
      const texts = new Uint8Array(ends.at(-1) ?? 0)
      lines.forEach((line, row) => texts.set(line, row === 0 ? 0 : ends[row - 1]))
      const piece: Piece = { kind: 'piece', collection, ids: ids.join('\n'), texts, ends: Uint32Array.from(ends), dead }
      this.#post(piece, [piece.texts.buffer, piece.ends.buffer])
      count++
    }
    return count
  }
}

function standing({ collection, id, state, confirmed }: Stands): Standing {
  return { id: recordKey(collection, id), state, confirmed: confirmed && JSON.stringify(confirmed) }
}
