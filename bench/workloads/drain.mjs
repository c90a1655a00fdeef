// 10,000 queued creates go to an HTTP server, until all are acknowledged and off the queue, durably.

import { measureTime } from '../clock.mjs'
import { makeRecords, verifyRecords } from '../records.mjs'
import { verifyPending } from '../verification.mjs'

const COUNT = 10_000
const BATCH = 1_000

export const about = {
  title: 'push of 10,000 queued records to an HTTP server, acknowledged and off the queue',
  unit: 'ms',
  limits: [{ ratio: 0.35 }],
  rounds: { full: 5, others: 1, quick: 3 },
}

export async function measure({ open, database, server }) {
  const db = await open(database)
  for (let from = 0; from < COUNT; from += BATCH) await db.insertMany(makeRecords(BATCH, from))
  const value = await measureTime(() => db.push())
  await db.close()
  verifyRecords(await server.stored(), COUNT)
  const again = await open(database)
  await verifyPending(again, 0)
  await again.close()
  return { value }
}
