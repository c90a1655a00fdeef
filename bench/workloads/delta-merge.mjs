// 10,000 changed records arrive from an HTTP server, in pages of 1,000, and are merged into 10,000 stored ones, until durable.
//
// The first 10,000 come the same way before the clock starts. Not here: writes of the device itself.

import { measureTime } from '../clock.mjs'
import { makeRecords } from '../records.mjs'

const COUNT = 10_000
const FIRST = '2025-01-01T00:00:00.000Z'
const LATER = '2025-01-02T00:00:00.000Z'
const SUFFIX = '; seen again'

export const about = {
  title: 'a delta of 10,000 records from an HTTP server merged into 10,000, durable',
  unit: 'ms',
  limits: [{ ratio: 0.12 }],
  rounds: { full: 5, others: 1, quick: 3 },
}

export async function measure({ open, database, server }) {
  await server.publish(COUNT, FIRST)
  const db = await open(database)
  await db.pull()
  await server.publish(COUNT, LATER, SUFFIX)
  const value = await measureTime(() => db.pull())
  await db.close()
  const again = await open(database)
  const rows = await again.list()
  await again.close()
  const expected = new Map(makeRecords(COUNT).map((record) => [record.id, record.notes + SUFFIX]))
  const wrong = rows.find((row) => expected.get(row.id) !== row.notes || (row._updatedAt ?? row.updatedAt) !== LATER)
  if (rows.length !== COUNT || wrong !== undefined) throw new Error(`the delta is not what is stored: ${rows.length} rows, ${JSON.stringify(wrong)}`)
  return { value }
}
