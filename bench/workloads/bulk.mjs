// 10,000 new records in one call, until durable.

import { measureTime } from '../clock.mjs'
import { makeRecords } from '../records.mjs'
import { verifyStored } from '../verification.mjs'

const COUNT = 10_000

export const about = {
  title: '10,000 new records in one call, durable',
  unit: 'ms',
  limits: [{ ratio: 0.06 }],
  rounds: { full: 7, others: 2, quick: 3 },
}

export async function measure({ open, database }) {
  const records = makeRecords(COUNT)
  const db = await open(database)
  const value = await measureTime(() => db.insertMany(records))
  await db.close()
  await verifyStored(open, database, COUNT)
  return { value }
}
