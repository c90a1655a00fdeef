// A measured write counts only if it can be read again: what a workload stored, seen through a new connection.

import { verifyRecords } from './records.mjs'

/** Opens the database again and throws unless it holds exactly the first `count` records, each queued for a server. */
export async function verifyStored(open, database, count) {
  const db = await open(database)
  verifyRecords(await db.list(), count)
  await verifyPending(db, count)
  await db.close()
}

/** Throws unless exactly `count` writes are queued, where the peer counts them. */
export async function verifyPending(db, count) {
  const pending = await db.pending()
  if (pending !== null && pending !== count) throw new Error(`expected ${count} queued writes, found ${pending}`)
}
