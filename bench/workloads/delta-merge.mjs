// 10,000 changed records arrive from a server, in pages of 1,000, and are merged into 10,000 stored ones, until durable.
//
// The network is not measured: `fetch` answers from memory, with the same JSON text for both peers apart from the envelope each
// speaks (`answers.mjs`). The first 10,000 come the same way before the clock starts. Not here: writes of the device itself.

import { serveFromMemory } from '../answers.mjs'
import { measureTime } from '../clock.mjs'
import { makeRecords } from '../records.mjs'

const COUNT = 10_000
const FIRST = '2025-01-01T00:00:00.000Z'
const LATER = '2025-01-02T00:00:00.000Z'

export const about = {
  title: 'a delta of 10,000 records merged into 10,000, durable',
  unit: 'ms',
  limit: { ratio: 0.12 },
  rounds: { full: 5, quick: 3 },
}

/** Record for record another note: every row changes. */
const changed = (records) => records.map((record) => ({ ...record, notes: `${record.notes}; seen again` }))

export async function measure({ open, database }) {
  const records = makeRecords(COUNT)
  const server = serveFromMemory()
  try {
    server.publish(records, FIRST)
    const db = await open(database)
    await db.pull()
    server.publish(changed(records), LATER)
    const value = await measureTime(() => db.pull())
    await db.close()
    const again = await open(database)
    const rows = await again.list()
    await again.close()
    const expected = new Map(changed(records).map((record) => [record.id, record.notes]))
    if (rows.length !== COUNT || rows.some((row) => expected.get(row.id) !== row.notes || row._updatedAt !== LATER)) throw new Error('the delta is not what is stored')
    return { value }
  } finally {
    server.stop()
  }
}
