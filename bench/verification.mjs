// A measured write counts only if it can be read again: what a workload stored, seen through a new connection.

import { verifyRecords } from './records.mjs'

/** Opens the database again and throws unless it holds exactly the first `count` records, each queued for a server. */
export async function verifyStored(open, database, count) {
  const db = await open(database)
  verifyRecords(await db.list(), count)
  const pending = await db.pending()
  if (pending !== count) throw new Error(`expected ${count} queued writes, found ${pending}`)
  await db.close()
}
