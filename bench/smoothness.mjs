// The steps of the workloads `smooth` and `smooth-4x`. What the records are made of is made before each stretch is watched.

import { coldOpen } from './cold.mjs'
import { watchLongTasks, watchStore } from './probes.mjs'
import { makeRecords } from './records.mjs'

const COUNT = 100_000
const BULK = 10_000
/** More rows than a journal may have before it is compacted. */
const SINGLES = 4_500

export const prepareSmoothness = coldOpen(COUNT).prepare

export async function measureSmoothness({ open, database }) {
  const bulk = makeRecords(BULK, COUNT)
  const singles = makeRecords(SINGLES, COUNT + BULK)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const tasks = watchLongTasks()

  const db = await open(database)
  // What opening leaves for later belongs to it.
  await idle()
  const opening = await tasks.longest()

  await db.insertMany(bulk)
  await idle()
  const writing = await tasks.longest()

  const segments = watchStore('segments')
  for (const record of singles) await db.insert(record)
  await idle()
  const compacting = await tasks.longest()
  segments.stop()
  tasks.stop()

  const { length } = await db.list()
  if (length !== COUNT + BULK + SINGLES) throw new Error(`${length} records`)
  await db.close()
  const info = { 'open ms': opening, 'bulk ms': writing, 'compaction ms': compacting, 'segments written': segments.totals.puts }
  return { value: Math.max(opening, writing, compacting), info }
}

/** A second in which the page may do what it put off. */
async function idle() {
  const until = performance.now() + 1_000
  while (performance.now() < until) await new Promise((resolve) => requestIdleCallback(resolve))
}
