// The engine as the page sees it when it runs in a worker: reads are answered from a mirror, writes are shown at once and sent, and
// what the worker says takes their place. Not here: starting the worker (`start.ts`), the worker's side (`host.ts`).

import type { Drained, Engine, Written } from '../engine.js'
import { HomingError, closedError, fromDetail } from '../errors.js'
import { parseBatch, understand, type Batch } from './batch.js'
import { Calls } from './calls.js'
import { joined } from './joined.js'
import { Keys } from './keys.js'
import { MirroredList, asCreated } from './lists.js'
import { Mirrors, type Named } from './mirrors.js'
import { newId, type Made as MadeId } from './naming.js'
import { Pieces } from './pieces.js'
import { Answers } from './answers.js'
import { MANY, recordKey, type Argument, type CallName, type FromWorker, type ListNews, type News, type OrderName, type Standing, type TellName, type ToWorker, type WholeList } from './protocol.js'
import { isDead, textOf, valueOf } from './slot.js'
import type { Ground } from './start.js'
import type { Made } from '../operations.js'
import { ARCHIVE, type Members } from '../values.js'

const UTF8 = new TextDecoder()
const NOTHING = { inserted: 0, unchanged: 0, archived: 0, duplicateIds: 0 }

/** A write under a key, and the record that it made. */
interface Keyed extends Named { readonly seq: number }

export class Remote implements Engine {
  readonly #ground: Ground
  readonly #answers: Answers
  #made = { clientId: '', isNew: false, storage: '' }
  #seq = 0
  readonly #calls = new Calls()
  #outbox: ToWorker[] = []
  #buffers: ArrayBuffer[] = []
  #over: HomingError | null = null
  #crashed: HomingError | null = null
  readonly #mirrors: Mirrors
  readonly #pieces: Pieces
  #opened: { resolve(): void; reject(error: HomingError): void } | null = null
  readonly #written = new Map<number, readonly Named[]>()
  /** Equal keys are one write. */
  readonly #keys = new Keys<Keyed>()
  readonly #queue = new MirroredList()
  readonly #explain = new MirroredList()
  readonly #deadLetters = new MirroredList()
  readonly #conflicts = new MirroredList()
  readonly #standings = new MirroredList()
  #texts = { status: '{}', metrics: '{}', ownConflicts: '[]' }
  #news: Omit<Drained, 'changes'> = {}

  constructor(ground: Ground) {
    this.#ground = ground
    this.#mirrors = new Mirrors(ground.localOf)
    this.#answers = new Answers(ground.hooks, (message) => this.#post(message))
    this.#pieces = new Pieces({ mirrors: this.#mirrors, post: (message, ...buffers) => this.#post(message, ...buffers), notify: () => ground.hooks.notify(), refuse: (seq, error) => this.#refuse(seq, error) })
    ground.port.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#hear(data)
    ground.port.onmessageerror = () => this.crash('a message could not be read')
  }

  /** Resolves when every row is here. */
  whenOpen(): Promise<void> {
    return new Promise((resolve, reject) => { this.#opened = { resolve, reject } })
  }

  /** The worker is gone: everybody who waits is told, and the next look at it fails. */
  crash(why: string): void {
    if (this.#over !== null) return
    const error = new HomingError({ code: 'engine-crashed', message: `The worker of the engine failed: ${why}. Open the database again; what was durable is safe.`, phase: 'apply' })
    this.#crashed = error
    this.#finish(error)
    this.#ground.hooks.notify()
  }

  /** It did not open. */
  fail(error: HomingError): void {
    this.#finish(error)
  }

  clientId(): string {
    return this.#made.clientId
  }

  isNew(): boolean {
    return this.#made.isNew
  }

  storage(): string {
    return this.#made.storage
  }

  write(bytes: Uint8Array): Written {
    return this.#write(bytes.slice(), parseBatch(UTF8.decode(bytes)))
  }

  /** Shown at once as the page has made them, so nothing is taken apart; what the worker makes of them may be another change. */
  insertKnown(bytes: Uint8Array, collection: string, records: readonly Members[]): readonly [number, number] {
    this.#pieces.finish()
    const mirror = this.#mirrors.known(collection)
    const ids = new Set(records.map((record) => record['id'] as string))
    const isNew = this.#mirrors.isQuiet && ids.size === records.length && [...ids].every((id) => this.currentId(id) === id && mirror?.view(id) === undefined)
    const { ticket, at } = this.#write(bytes.slice(), { ops: [{ op: 'insert', collection, records }] })
    // The page says so itself.
    if (isNew) this.#mirrors.takeChanges()
    return [ticket, isNew ? at : NaN]
  }

  insertInPieces(collection: string, records: readonly Made[]): number {
    const [seq, now] = [++this.#seq, this.#ground.naming.now()]
    this.#written.set(seq, this.#pieces.add({ seq, now, at: now + this.#skew(), collection, records }))
    return seq
  }

  insertsNow(): void {
    this.#pieces.finish()
  }

  /** `bytes` are this write's own: they leave later. */
  #write(bytes: Uint8Array, batch: Batch): Written & { readonly at: number } {
    this.#pieces.finish()
    const seq = ++this.#seq
    const { idempotencyKey: key } = batch
    const known = key === undefined ? undefined : this.#repeated(key)
    const { naming } = this.#ground
    const now = naming.now()
    const at = now + this.#skew()
    const made: MadeId[] = []
    const name = (collection: string | null): string => (made[made.push(newId(naming, collection, now)) - 1] as MadeId).id
    const { touched, results, isNew: _, ...counts } = understand(batch, name, (collection, id) => this.#mirrors.of(collection).view(this.currentId(id)), this.#ground.localOf, this.#ground.setsOf, (id) => this.currentId(id))
    if (known === undefined) {
      if (key !== undefined) for (const { collection, id } of touched) this.#keys.set(key, { seq, collection, id })
      this.#written.set(seq, touched)
      this.#mirrors.touch(touched, (mirror, id, { step }) => mirror.write(id, step, at, seq))
    }
    this.#send({ kind: 'write', seq, batch: bytes, now, at, made, keyed: key !== undefined })
    return { ticket: seq, results: (known ?? results).map(({ ids }) => ({ ids: ids.map((id) => this.currentId(id)) })), ...counts, at }
  }

  /** What came of the write under a key. Where its record is gone, as after `queue.discard`, the next one is a new one: so the worker sees it. */
  #repeated(key: string): Written['results'] | undefined {
    const keyed = this.#keys.get(key)
    const isThere = keyed !== undefined && this.#mirrors.known(keyed.collection)?.view(this.currentId(keyed.id)) !== undefined
    return isThere ? [{ ids: [keyed.id] }] : undefined
  }

  writeKnown(bytes: Uint8Array): number {
    return this.write(bytes).ticket
  }

  drainPlain(): undefined {
    return undefined
  }

  drain(): Drained {
    if (this.#crashed !== null) throw this.#crashed
    const drained = { ...this.#news, changes: this.#mirrors.takeChanges() }
    this.#news = {}
    return drained
  }

  rows(collection: string): readonly string[] {
    return [`[${this.#mirrors.known(collection)?.live().join() ?? ''}]`]
  }

  row(collection: string, id: string): string | undefined {
    const slot = this.#mirrors.known(collection)?.view(this.currentId(id))
    return slot === undefined ? undefined : textOf(slot)
  }

  rowsOf(collection: string, ids: string): string {
    return `[${(JSON.parse(ids) as string[]).map((id) => this.row(collection, id) ?? 'null').join()}]`
  }

  deleted(collection: string): string {
    return `[${this.#mirrors.known(collection)?.dead().join() ?? ''}]`
  }

  collections(): string {
    return JSON.stringify(this.#mirrors.counts())
  }

  state(collection: string, given: string): string {
    const id = this.currentId(given)
    const mirror = this.#mirrors.known(collection)
    const standing = this.#standing(collection, id)
    if (standing?.state === 'failed' || standing?.state === 'conflict') return standing.state
    if (mirror?.below(id) !== undefined) return this.#ground.syncs(collection) ? 'queued' : 'local'
    if (standing !== undefined) return standing.state
    const slot = mirror?.view(id)
    if (slot === undefined) return 'local'
    if (valueOf(slot)['_rev'] !== undefined) return 'synced'
    if (!this.#ground.syncs(collection) || collection === ARCHIVE) return 'local'
    // Of a long queue new records are left out, and what was written last may be missing.
    const { pending = 0 } = JSON.parse(this.#texts.status) as { pending?: number }
    if (pending > MANY) return 'queued'
    // Nobody is told which version of a tombstone the server has.
    return isDead(slot) ? 'synced' : 'local'
  }

  confirmed(collection: string, given: string): string | undefined {
    const id = this.currentId(given)
    const standing = this.#standing(collection, id)
    if (standing !== undefined) return standing.confirmed ?? undefined
    const mirror = this.#mirrors.known(collection)
    const below = mirror?.below(id)
    const slot = below === undefined ? mirror?.view(id) : below.slot
    return slot !== undefined && valueOf(slot)['_rev'] !== undefined ? textOf(slot) : undefined
  }

  status(): string {
    return this.#texts.status
  }

  metrics(): string {
    return this.#texts.metrics
  }

  queue(): string {
    return this.#queue.text
  }

  patch(mutationId: string): string | undefined {
    const [queue, dead] = [this.#queue, this.#deadLetters]
    const known = queue.patch(mutationId) ?? dead.patch(mutationId)
    if (known !== undefined) return known
    const text = queue.one(mutationId) ?? dead.one(mutationId)
    return text === undefined ? undefined : asCreated(text)
  }

  conflictPatch(conflictId: string): string | undefined {
    return this.#conflicts.patch(conflictId)
  }

  explain(): string {
    return this.#explain.text
  }

  newId(collection: string): string {
    return newId(this.#ground.naming, collection, this.#ground.naming.now()).id
  }

  firstId(id: string): string {
    return this.#mirrors.firstId(id)
  }

  currentId(id: string): string {
    return this.#mirrors.currentId(id)
  }

  deadLetters(): string {
    return this.#deadLetters.text
  }

  conflicts(): string {
    return this.#conflicts.text
  }

  ownConflicts(): string {
    return this.#texts.ownConflicts
  }

  discard(mutationId: string): Written {
    return this.#order('discard', [mutationId])
  }

  discardDead(id: string, cascade: boolean): Written {
    return this.#order('discardDead', [id, cascade])
  }

  retryDead(id: string, edited: string | undefined): Written {
    return this.#order('retryDead', [id, edited])
  }

  resolve(conflictId: string, choice: string): Written {
    return this.#order('resolve', [conflictId, choice])
  }

  reinstate(conflictId: string): Written {
    return this.#order('reinstate', [conflictId])
  }

  purge(before: string | undefined): Promise<number> {
    return this.#call('purge', [before])
  }

  sync(options: string): Promise<string> {
    return this.#call('sync', [options])
  }

  readonly load = (collection: string): Promise<void> => this.#call('load', [collection])
  readonly pause = (): void => this.#tell('pause', [])
  readonly resume = (): void => this.#tell('resume', [])
  readonly online = (yes: boolean): void => this.#tell('online', [yes])
  readonly visible = (yes: boolean): void => this.#tell('visible', [yes])

  readonly setWriter = (yes: boolean): void => this.#tell('setWriter', [yes])
  readonly letGo = (): void => this.#tell('letGo', [])

  catchUp(): Promise<void> {
    return this.#call('catchUp', [])
  }

  durable(): Promise<void> {
    return this.#call('durable', [])
  }

  async close(): Promise<void> {
    await this.#call('close', [])
    this.#finish(closedError('close'))
  }

  async destroy(discardPending: boolean): Promise<void> {
    await this.#call('destroy', [discardPending])
    this.#finish(closedError('close'))
  }

  free(): void {
    this.#finish(closedError('close'))
  }

  abandon(error: HomingError): void {
    this.#finish(error)
  }

  /** Nothing is waited for any more, and the worker ends. */
  #finish(error: HomingError): void {
    if (this.#over !== null) return
    this.#over = error
    this.#opened?.reject(error)
    this.#calls.end(error)
    this.#answers.end()
    this.#pieces.drop()
    this.#ground.port.close()
    this.#ground.end()
  }

  #order(name: OrderName, args: readonly Argument[]): Written {
    this.#pieces.finish()
    const seq = ++this.#seq
    this.#send({ kind: 'order', seq, now: this.#ground.naming.now(), name, args })
    // Which record it was, the caller knows.
    return { ticket: seq, results: [], ...NOTHING }
  }

  #call<T>(name: CallName, args: readonly Argument[]): Promise<T> {
    if (this.#over !== null) return Promise.reject(this.#over)
    const { call, answer } = this.#calls.make<T>()
    this.#send({ kind: 'call', call, name, args })
    return answer
  }

  #tell(name: TellName, args: readonly Argument[]): void {
    this.#send({ kind: 'tell', name, args })
  }

  /** What was written before is said before. */
  #send(message: ToWorker): void {
    this.#pieces.finish()
    this.#post(message)
  }

  /** What is said in one go crosses together: then writes of a loop share one append, as without a worker. */
  #post(message: ToWorker, ...buffers: ArrayBuffer[]): void {
    if (this.#over !== null) return
    this.#buffers.push(...buffers)
    if (this.#outbox.push(message) > 1) return
    queueMicrotask(() => {
      const [messages, transferred] = [this.#outbox, this.#buffers]
      this.#outbox = []
      this.#buffers = []
      if (this.#over === null) this.#ground.port.postMessage(messages, transferred)
    })
  }

  #hear(message: FromWorker): void {
    if (this.#over !== null) return
    switch (message.kind) {
      case 'piece':
        // Before it is open nobody looks: no need to keep the rows until they are complete.
        return this.#opened === null ? this.#mirrors.keep(message) : this.#mirrors.of(message.collection).fill(message)
      case 'news':
        return this.#takeNews(message)
      case 'opened':
        this.#made = message
        this.#opened?.resolve()
        this.#opened = null
        return
      case 'failed':
        return this.fail(fromDetail(message.error))
      case 'answer':
        return this.#calls.resolve(message.call, message.value)
      case 'unanswered':
        return this.#calls.reject(message.call, fromDetail(message.error))
      case 'ask':
        return this.#answers.answer(message.ask, message.name, message.args)
      case 'abort':
        return this.#answers.abort(message.ask)
      case 'turnOver':
        return this.#answers.turnOver(message.ask)
      case 'gone':
        return this.#ground.hooks.gone?.(message.how)
      case 'appended':
        return this.#ground.hooks.appended(message.head)
      case 'log':
        return this.#ground.hooks.log?.(message.entry)
      case 'crashed':
        return this.crash(message.message)
    }
  }

  /** The page itself found out why a write cannot be. */
  #refuse(seq: number, error: HomingError): void {
    this.#takeNews({ kind: 'news', rows: [], planned: [], refused: [{ seq, error: error.toJSON() }], drained: {} })
  }

  #takeNews(news: News): void {
    // What is told of a record comes after what made it.
    if (news.rows.some(({ all, pieces, gone, renamed }) => all || pieces + gone.length > 0 || renamed !== undefined)) this.#pieces.finish()
    const answered = [...news.planned, ...news.refused.map(({ seq }) => ({ seq, exact: false, id: undefined }))].map(({ seq, exact, id }) => {
      const written = this.#written.get(seq) ?? []
      this.#written.delete(seq)
      const shown = written[0]?.id
      const touched = written.filter((one) => !this.#mirrors.of(one.collection).drop(this.currentId(one.id), seq, exact))
      return { touched, became: id === undefined || (shown !== undefined && id === this.currentId(shown)) ? [] : [{ ticket: seq, id }] }
    })
    for (const rows of news.rows) this.#mirrors.take(rows)
    for (const { touched } of answered) this.#mirrors.touch(touched, (mirror, id) => mirror.settle(id))
    const became = answered.flatMap(({ became }) => became)
    this.#reviewKeys(became, [...news.refused.map(({ seq }) => seq), ...(news.drained.failed ?? []).map(({ ticket }) => ticket)])
    const { status, metrics, ownConflicts } = this.#texts
    this.#texts = { status: news.status ?? status, metrics: news.metrics ?? metrics, ownConflicts: news.ownConflicts ?? ownConflicts }
    if (news.queue !== undefined) takeList(this.#queue, news.queue)
    if (news.explain !== undefined) takeList(this.#explain, news.explain)
    if (news.deadLetters !== undefined) this.#deadLetters.take(news.deadLetters)
    if (news.conflicts !== undefined) this.#conflicts.take(news.conflicts)
    if (news.standings !== undefined) this.#standings.take(news.standings)
    const failed = news.refused.map(({ seq, error }) => ({ ticket: seq, error }))
    this.#news = joined(this.#news, { ...news.drained, became, failed: [...news.drained.failed ?? [], ...failed] })
    this.#ground.hooks.notify()
  }

  /** Of writes that were another record's, and of those that were none. */
  #reviewKeys(became: NonNullable<Drained['became']>, unwritten: readonly number[]): void {
    if (became.length + unwritten.length === 0) return
    const [ids, none] = [new Map(became.map(({ ticket, id }) => [ticket, id])), new Set(unwritten)]
    this.#keys.review((keyed) => {
      const id = ids.get(keyed.seq)
      return none.has(keyed.seq) ? null : id === undefined ? keyed : { ...keyed, id }
    })
  }

  #standing(collection: string, id: string): Standing | undefined {
    const text = this.#standings.one(recordKey(collection, id))
    return text === undefined ? undefined : JSON.parse(text) as Standing
  }

  /** The server's clock minus this one, as far as it is known. */
  #skew(): number {
    const { skewMs } = JSON.parse(this.#texts.metrics) as { skewMs?: number | null }
    return skewMs ?? 0
  }
}

function takeList(list: MirroredList, news: ListNews | WholeList): void {
  if ('whole' in news) list.takeWhole(news)
  else list.take(news)
}
