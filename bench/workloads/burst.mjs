// 2,000 single writes in a row without awaiting any, until the last is durable.

import { measureTime } from '../clock.mjs'
import { makeRecords } from '../records.mjs'
import { verifyStored } from '../verification.mjs'

const COUNT = 2_000

export const about = {
  title: '2,000 un-awaited single writes, durable',
  unit: 'ms',
  limits: [{ ratio: 0.15 }],
  rounds: { full: 9, others: 1, quick: 3 },
}

export async function measure({ open, database }) {
  const records = makeRecords(COUNT)
  const db = await open(database)
  const value = await measureTime(() => Promise.all(records.map((record) => db.insert(record))))
  await db.close()
  await verifyStored(open, database, COUNT)
  return { value }
}
