// Homing, imported by its public name (the import map is in `page.html`) and used as its README says.
//
// Sync is configured, so every write is queued like the opponent's outbox row; `auto: false` keeps it from sending.

import { openDatabase } from 'homing'

/** Opens (or creates) the database `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const db = await openDatabase({
    name,
    collections: { records: {} },
    sync: { url: new URL('/no-server', location.href).href, auto: false },
  })
  const records = db.collection('records')
  return {
    insertMany: (rows) => records.insertMany(rows),
    insert: (row) => records.insert(row),
    list: async () => records.list(),
    pending: async () => db.queue.list().length,
    pull: () => db.sync(),
    close: () => db.close(),
  }
}
