// Cold opening at any size, for the workloads `cold-open…`: a new browser process on a profile that holds the records, from `open`
// until every one is read as an object.
//
// The page and its scripts are loaded before the clock starts; a peer's wasm is not (it is fetched, compiled and
// started inside `open`) and is also shown on its own.

import { measureTime } from './clock.mjs'
import { watchWasm } from './probes.mjs'
import { makeRecords, touchRecords, verifyRecords } from './records.mjs'

/** Rows in one call when the database is made. */
const BATCH = 1_000

/** The two steps of a workload with `count` records. */
export function coldOpen(count) {
  return {
    async prepare({ open, database }) {
      const db = await open(database)
      for (let from = 0; from < count; from += BATCH) await db.insertMany(makeRecords(BATCH, from))
      await db.close()
    },
    async measure({ open, database }) {
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
      if (sum !== touchRecords(makeRecords(count))) throw new Error('the records read differ from those written')
      verifyRecords(rows, count)
      await db.close()
      return { value, info: { 'open ms': opened - started, 'wasm ms': wasm.totals.ms } }
    },
  }
}
