// 10,000 awaited single appends: bytes handed to IndexedDB, compaction included, for each byte of the records as JSON.

import { watchWrites } from '../probes.mjs'
import { makeRecords } from '../records.mjs'
import { verifyStored } from '../verification.mjs'

const COUNT = 10_000

export const about = {
  title: 'bytes written by 10,000 single appends per byte of their bodies',
  unit: '×',
  limits: [{ max: 3 }],
  rounds: { full: 1, quick: 1 },
  warmUp: false,
  race: false,
  peers: ['homing', 'hand-written'],
}

export async function measure({ open, database }) {
  const records = makeRecords(COUNT)
  const bodies = records.reduce((sum, record) => sum + new TextEncoder().encode(JSON.stringify(record)).length, 0)
  const writes = watchWrites()
  const db = await open(database)
  for (const record of records) await db.insert(record)
  await db.close()
  writes.stop()
  if (writes.totals.requests < COUNT) {
    throw new Error(`only ${writes.totals.requests} IndexedDB writes seen for ${COUNT} awaited appends`)
  }
  await verifyStored(open, database, COUNT)
  return { value: writes.totals.bytes / bodies, info: { 'requests': writes.totals.requests, 'MB': writes.totals.bytes / 1e6 } }
}
