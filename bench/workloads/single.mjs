// One write, awaited until durable, then the next. A round is a block of writes and its figure is their median.

import { measureTime } from '../clock.mjs'
import { makeRecords } from '../records.mjs'
import { quantile } from '../statistics.mjs'
import { verifyStored } from '../verification.mjs'

const COUNT = 100

export const about = {
  title: `one awaited write, p50 of blocks of ${COUNT}`,
  unit: 'ms',
  limits: [{ ratio: 0.9 }],
  rounds: { full: 21, others: 7, quick: 9 },
}

export async function measure({ open, database }) {
  const records = makeRecords(COUNT)
  const db = await open(database)
  const times = []
  await measureTime(async () => {
    for (const record of records) {
      const started = performance.now()
      await db.insert(record)
      times.push(performance.now() - started)
    }
  })
  await db.close()
  await verifyStored(open, database, COUNT)
  return { value: quantile(times, 0.5), info: { 'p95 ms': quantile(times, 0.95) } }
}
