// A new browser process on a profile that holds 10,000 records: from `open` until every one is read as an object.
//
// The page and its scripts are loaded before the clock starts; a peer's wasm is not (it is fetched, compiled and
// started inside `open`) and is also shown on its own.

import { measureTime } from '../clock.mjs'
import { watchWasm } from '../probes.mjs'
import { makeRecords, touchRecords, verifyRecords } from '../records.mjs'

const COUNT = 10_000
const BATCH = 1_000

export const about = {
  title: 'cold open in a new browser process until 10,000 records are read',
  unit: 'ms',
  limit: { ratio: 0.50 },
  rounds: { full: 9, quick: 5 },
  newProcess: true,
}

export async function prepare({ open, database }) {
  const db = await open(database)
  for (let from = 0; from < COUNT; from += BATCH) await db.insertMany(makeRecords(BATCH, from))
  await db.close()
}

export async function measure({ open, database }) {
  const wasm = watchWasm()
  let db, rows, sum, opened
  const started = performance.now()
  const value = await measureTime(async () => {
    db = await open(database)
    opened = performance.now()
    rows = await db.list()
    sum = touchRecords(rows)
  })
  wasm.stop()
  if (sum !== touchRecords(makeRecords(COUNT))) throw new Error('the records read differ from those written')
  verifyRecords(rows, COUNT)
  await db.close()
  return { value, info: { 'open ms': opened - started, 'wasm ms': wasm.totals.ms } }
}
