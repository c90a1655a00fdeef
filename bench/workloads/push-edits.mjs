// 20 edits of a device that has 2,000 records go to an HTTP server, until all are acknowledged and off the queue, durably.
//
// The device has pulled and pushed before: a peer that finds out what to send by comparing has compared.

import { measureTime } from '../clock.mjs'
import { makeRecords } from '../records.mjs'
import { verifyPending } from '../verification.mjs'

const COUNT = 2_000
const EDITS = 20
const STAMP = '2025-01-01T00:00:00.000Z'

export const about = {
  title: `push of ${EDITS} edits to an HTTP server, acknowledged and off the queue, among 2,000 records`,
  unit: 'ms',
  limits: [{ ratio: 1.0 }],
  rounds: { full: 9, others: 3, quick: 5 },
}

export async function measure({ open, database, server }) {
  await server.publish(COUNT, STAMP)
  const db = await open(database)
  await db.pull()
  await db.push()
  const edited = (await db.list()).slice(0, EDITS).map((row) => ({ ...row, notes: `${row.notes}, edited` }))
  for (const row of edited) await db.save(row)
  await verifyPending(db, EDITS)
  const value = await measureTime(() => db.push())
  await db.close()
  const stored = new Map((await server.stored()).map((row) => [row.id, row.notes]))
  const missing = edited.find(({ id, notes }) => stored.get(id) !== notes)
  if (missing !== undefined) throw new Error(`the server has ${JSON.stringify(stored.get(missing.id))} instead of ${JSON.stringify(missing.notes)}`)
  const again = await open(database)
  await verifyPending(again, 0)
  await again.close()
  return { value }
}
