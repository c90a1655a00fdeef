// Dexie: one row per record, one per mutation, in one transaction, with its bulk methods where there is more than one.
//
// Sync is the app's own (Dexie Cloud's needs its server). Dexie has no group commit: each write is a transaction.

import { Dexie } from 'dexie'
import { BATCH, pages, send } from './plain.mjs'

/** Opens (or creates) the database `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const db = new Dexie(name)
  db.version(1).stores({ records: 'id', outbox: '++key', meta: '' })
  await db.open()

  const insertMany = (records) => db.transaction('rw', db.records, db.outbox, () => Promise.all([
    db.records.bulkPut(records),
    db.outbox.bulkAdd(records.map(({ id }) => ({ id, op: 'put' }))),
  ]))
  const save = (record) => db.transaction('rw', db.records, db.outbox, () => Promise.all([
    db.records.put(record),
    db.outbox.add({ id: record.id, op: 'put' }),
  ]))

  return {
    insertMany,
    insert: save,
    save,
    list: () => db.records.toArray(),
    pending: () => db.outbox.count(),
    async push() {
      for (;;) {
        const entries = await db.outbox.orderBy(':id').limit(BATCH).toArray()
        if (entries.length === 0) return
        await send(name, await db.records.bulkGet([...new Set(entries.map(({ id }) => id))]))
        await db.outbox.where(':id').between(entries[0].key, entries.at(-1).key, true, true).delete()
      }
    },
    async pull() {
      const since = (await db.meta.get('checkpoint')) ?? 0
      for await (const page of pages(name, since)) {
        await db.transaction('rw', db.records, db.meta, async () => {
          const known = await db.records.bulkGet(page.records.map(({ id }) => id))
          await db.records.bulkPut(page.records.filter((record, at) => known[at] === undefined || known[at]._updatedAt < record._updatedAt))
          await db.meta.put(page.checkpoint, 'checkpoint')
        })
      }
    },
    close: async () => db.close(),
  }
}
