// The steps of the workloads `smooth…`. What the records are made of is made before each stretch is watched.

import { coldOpen } from './cold.mjs'
import { readKeys, watchGaps, watchLongTasks, watchStore } from './probes.mjs'
import { makeRecords } from './records.mjs'
import { verifyStored } from './verification.mjs'

const COUNT = 100_000
const BULK = 10_000
/** More rows than a journal may have before it is compacted. */
const SINGLES = 4_500

export const prepareSmoothness = coldOpen(COUNT).prepare

/** The engine in the page: tasks that the browser calls long. */
export async function measureSmoothness({ open, database }) {
  const segments = watchStore('segments')
  const figures = await measure(open, database, watchLongTasks)
  segments.stop()
  await verifyStored(open, database, COUNT + BULK + SINGLES)
  return withSegments(figures, segments.totals.puts)
}

/** The engine in a worker: every wait of the page. */
export async function measureSmoothnessInWorker({ openInWorker, database }) {
  const before = new Set(await readKeys(database, 'segments'))
  const figures = await measure(openInWorker, database, watchGaps)
  const after = await readKeys(database, 'segments')
  await verifyStored(openInWorker, database, COUNT + BULK + SINGLES)
  return withSegments(figures, after.filter((key) => !before.has(key)).length)
}

function withSegments({ opening, writing, compacting }, segments) {
  const info = { 'open ms': opening, 'bulk ms': writing, 'compaction ms': compacting, 'segments written': segments }
  return { value: Math.max(opening, writing, compacting), info }
}

async function measure(open, database, watch) {
  const bulk = makeRecords(BULK, COUNT)
  const singles = makeRecords(SINGLES, COUNT + BULK)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const tasks = watch()

  const db = await open(database)
  // What opening leaves for later belongs to it.
  await idle()
  const opening = await tasks.longest()

  await db.insertMany(bulk)
  await idle()
  const writing = await tasks.longest()

  for (const record of singles) await db.insert(record)
  await idle()
  const compacting = await tasks.longest()
  tasks.stop()

  await db.close()
  return { opening, writing, compacting }
}

/** A second in which the page may do what it put off. */
async function idle() {
  const until = performance.now() + 1_000
  while (performance.now() < until) await new Promise((resolve) => requestIdleCallback(resolve))
}
