// Homing, imported by its public name (the import map is in `page.html`) and used as its README says.
//
// Sync is configured, so every write is queued like the opponent's outbox row; `auto: false` keeps it from sending unasked.

import { openDatabase } from 'homing'

/** The queue of the largest workload. */
const QUEUE = 200_000

/** Opens (or creates) the database `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name, options = {}) {
  const db = await openDatabase({
    ...options,
    name,
    collections: { records: {} },
    sync: { url: new URL(`/sync/${name}/api/v1/sync/delta`, location.href).href, auto: false },
    maxQueue: QUEUE,
  })
  const records = db.collection('records')
  return {
    insertMany: (rows) => records.insertMany(rows),
    insert: (row) => records.insert(row),
    save: (row) => records.put(row),
    list: async () => records.list(),
    pending: async () => db.status.getSnapshot().pending,
    push: () => db.sync(),
    pull: () => db.sync(),
    close: () => db.close(),
  }
}

/** The same with the engine in a dedicated worker. */
export function openInWorker(name) {
  return open(name, { worker: true })
}

/** The same for one JSON tree: `load` before the first `save`, which writes what changed in it. */
export async function openDocument(name) {
  const { version, collections } = await fetch('/dist/egglogu.schema.json').then((response) => response.json())
  const db = await openDatabase({ name, version, collections, sync: { url: new URL('/sync/none', location.href).href, auto: false } })
  return {
    async load(tree) {
      await db.importDocument(tree)
      return db.exportDocument()
    },
    save: (tree, only) => db.saveDocument(tree, only && { only }),
    read: () => db.exportDocument(),
    close: () => db.close(),
  }
}
