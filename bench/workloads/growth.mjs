// What a record costs in a large database: 100,000 are written, 10,000 in a call; the last call against the first, per record.
//
// The single writes at both ends are shown beside it. What opening costs with size is in `cold-open…`.

import { measureTime } from '../clock.mjs'
import { makeRecord, makeRecords } from '../records.mjs'
import { quantile } from '../statistics.mjs'
import { verifyStored } from '../verification.mjs'

const STEP = 10_000
const STEPS = 10
const SINGLES = 30
const PAUSE_MS = 3_000

export const about = {
  title: 'cost of a record among 100,000 by its cost among 10,000, written in bulk',
  unit: '×',
  limits: [{ max: 1.5 }, { figure: 'single ×', max: 1.5 }],
  rounds: { full: 2, others: 1, quick: 1 },
  warmUp: false,
  peers: ['homing', 'hand-written', 'dexie'],
  race: false,
}

export async function measure({ open, database }) {
  const db = await open(database)
  // What the engine compiles on first use is no cost of size.
  await db.insertMany(makeRecords(STEP, STEP * STEPS + 2 * SINGLES))
  const firstSingles = await writeSingles(db, STEP * STEPS)
  const times = []
  for (let step = 0; step < STEPS; step += 1) {
    const records = makeRecords(STEP, step * STEP)
    times.push(await measureTime(() => db.insertMany(records)))
  }
  const lastSingles = await writeSingles(db, STEP * STEPS + SINGLES)
  await db.close()
  await verifyStored(open, database, STEP * (STEPS + 1) + 2 * SINGLES)
  const first = quantile(times.slice(0, 3), 0.5)
  const last = quantile(times.slice(-3), 0.5)
  return { value: last / first, info: { 'first ms': first, 'last ms': last, 'single ×': lastSingles / firstSingles } }
}

/** After a pause in which what the writes before made due is done: what size costs, not what goes on beside. */
async function writeSingles(db, from) {
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  const times = []
  for (let at = 0; at < SINGLES; at += 1) {
    const record = makeRecord(from + at)
    times.push(await measureTime(() => db.insert(record)))
  }
  return quantile(times, 0.5)
}
