// Right uses compile, wrong ones do not: every line under `@ts-expect-error` must be an error.

import { HomingError, openDatabase, type Batch, type Changes, type Database, type ErrorCode, type Row, type Transport, type Verdict, type Write } from 'homing'
import { openDatabase as openSlim } from 'homing/slim'

interface Flock { name: string; count: number; notes?: string; tags: string[]; housed: string | null }
interface Purchase { date: string; cost: number }
interface Settings { dark: boolean; tax: number }
interface Farm { flocks: Flock; 'feed.purchases': Purchase; settings: Settings }

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function is<T extends true>(): T | void {}

export async function rightUses(): Promise<void> {
  const db = await openDatabase<Farm>({ name: 'farm', collections: { flocks: { merge: 'lww', label: 'name', title: 'Flock', ordinal: { field: 'count', parent: 'name' }, unique: [['name', 'housed']] }, settings: { singleton: true }, 'feed.purchases': { lazy: true, localFields: ['cost'] } }, sync: { url: 'https://example.org', getToken: async ({ refresh }) => (refresh ? null : 'x') } })
  is<Same<typeof db, Database<Farm>>>()
  const flocks = db.collection('flocks')
  const write = flocks.insert({ name: 'A', count: 1, tags: [], housed: null })
  is<Same<typeof write, Write<Row<Flock>>>>()
  const row: Row<Flock> = await write
  const stamp: string = row._updatedAt
  const verdict: Verdict = await write.settled
  if (verdict.status === 'applied') verdict.rev.toFixed()
  if (verdict.status === 'rejected') verdict.error.code satisfies ErrorCode
  await flocks.update(row.id, { notes: undefined, housed: null })
  await flocks.update(row.id, ({ count }) => ({ count: count - 1 }))
  await flocks.put({ ...row, count: 3 })
  await flocks.delete(row.id)
  const many = flocks.insertMany([{ name: 'B', count: 1, tags: [], housed: stamp }])
  many.recordIds satisfies readonly string[]
  ;(await many.settled) satisfies readonly Verdict[]
  flocks.list({ where: { count: { gt: 3, lte: 5 }, name: { startsWith: 'L' }, housed: null, id: row.id }, orderBy: '-count', limit: 5 }) satisfies readonly Row<Flock>[]
  flocks.list({ where: (one) => one.count > 0, orderBy: (a, b) => a.count - b.count })
  flocks.list({ orderBy: '_updatedAt' })
  const stop: () => void = flocks.subscribe((change: Changes<Flock>) => change.added.map(({ name }) => name))
  stop()
  flocks.query({ where: { count: 1 } }).getSnapshot()[0]?.name.toUpperCase()
  flocks.record('x').subscribe((one) => one?.name)
  await db.collection('feed.purchases').ready
  db.collection('feed.purchases').get('x')?.cost.toFixed()
  db.singleton('settings').get()?.dark.valueOf()
  await db.singleton('settings').set({ dark: true, tax: 1 })
  const inside: number = await db.batch((tx) => { tx.collection('flocks').delete('x'); return tx.collection('flocks').list().length })
  await db.batch((tx) => tx.collection('flocks').delete('x'))
  await db.batch((tx) => { tx.collection('flocks').delete('x') }, { atomic: true })
  await db.batch((tx) => { tx.collection('flocks').delete('x'); throw new Error('not this time') })
  await db.batch((tx) => inside > 1 ? tx.collection('flocks').delete('x') : undefined)
  const atomically = <R>(work: (tx: Batch<Farm>) => R): Promise<R> => db.batch(work, { atomic: true })
  await atomically((tx) => tx.collection('flocks').list().length) satisfies number
  const whatever = (work: (tx: Batch<Farm>) => unknown): Promise<unknown> => db.batch(work)
  await whatever((tx) => JSON.parse(tx.collection('flocks').get('x')?.name ?? ''))
  await db.batch((tx) => JSON.parse(tx.collection('flocks').get('x')?.name ?? ''))
  const tree = await db.exportDocument<{ flocks: Flock[] }>()
  tree.flocks[inside]?.name.trim()
  const saved = await db.saveDocument(tree, { only: ['flocks'] })
  saved.inserted.toFixed()
  db.addEventListener('conflict', ({ detail }) => detail.label.trim(), { once: true })
  db.addEventListener('storage', ({ detail: { mode, lost, usage } }) => mode === 'localstorage' || lost || (usage ?? 0) > 0)
  db.addEventListener('outdated', ({ detail }) => detail.reason.trim())
  if (!await db.requestPersistence()) db.status.getSnapshot().storage.reason?.trim()
  db.status.getSnapshot().pending.toFixed()
  await db.conflicts.resolve('arc_1', 'mine')
  await db.deadLetters.retry('c:1', { name: 'x' })
  await using other = await openDatabase({ name: 'any' })
  other.collection('anything').insert({ whatever: 1 }).record['whatever'] satisfies unknown
  const transport: Transport = { push: async ({ mutations }) => { throw new Error(String(mutations.length)) }, pull: async () => { throw new Error() } }
  await openSlim<Farm>({ name: 'farm', wasm: new URL('https://example.org/homing.wasm'), sync: { transport } })
}

export async function wrongUses(db: Database<Farm>, row: Row<Flock>): Promise<void> {
  // @ts-expect-error a collection that is not there
  db.collection('flock')
  // @ts-expect-error a field of the wrong type
  db.collection('flocks').insert({ name: 7, count: 1, tags: [], housed: null })
  // @ts-expect-error a field that is missing
  db.collection('flocks').insert({ name: 'A', tags: [], housed: null })
  // @ts-expect-error a field that is not there
  db.collection('flocks').update('x', { colour: 'red' })
  // @ts-expect-error stamps are Homing's
  db.collection('flocks').update('x', { _updatedAt: '' })
  // @ts-expect-error put needs an id
  db.collection('flocks').put({ name: 'A', count: 1, tags: [], housed: null })
  // @ts-expect-error rows are read-only
  row.count = 3
  // @ts-expect-error lists are read-only
  db.collection('flocks').list().push(row)
  // @ts-expect-error no such field to order by
  db.collection('flocks').list({ orderBy: 'colour' })
  // @ts-expect-error a bound of another type
  db.collection('flocks').list({ where: { count: { gt: '3' } } })
  // @ts-expect-error get may find nothing
  db.collection('flocks').get('x').name
  // @ts-expect-error a name is needed
  await openDatabase<Farm>({})
  // @ts-expect-error no such way to merge
  await openDatabase<Farm>({ name: 'x', collections: { flocks: { merge: 'newest' } } })
  // @ts-expect-error a collection that is not there
  await openDatabase<Farm>({ name: 'x', collections: { flock: {} } })
  // @ts-expect-error the slim entry needs its module
  await openSlim<Farm>({ name: 'x' })
  // @ts-expect-error no such event
  db.addEventListener('conflicts', () => {})
  // @ts-expect-error no such decision
  db.conflicts.resolve('x', 'ours')
  // @ts-expect-error settled has to be waited for
  db.collection('flocks').delete('x').settled.status
  // @ts-expect-error what is not built yet is not in the types
  db.exportBackup()
  // @ts-expect-error no such code
  new HomingError({ code: 'oops', message: '', phase: 'open' })
}
