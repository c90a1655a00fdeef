// RxDB with its free Dexie storage and its replication. It has no queue: what is newer than the push checkpoint is sent.
//
// `multiInstance: false` (other tabs are told nothing) because that is its fastest. Batches are those of the other peers.

import { createRxDatabase } from 'rxdb/plugins/core'
import { replicateRxCollection } from 'rxdb/plugins/replication'
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie'
import { BATCH, page, send } from './plain.mjs'

const text = { type: 'string' }
const number = { type: 'number' }
const SCHEMA = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: {
    id: { type: 'string', maxLength: 64 }, date: text, flockId: text, houseId: text, eggsCollected: number, eggsBroken: number, mortality: number,
    feedKg: number, waterL: number, notes: text, createdBy: text, recordedAt: text, verifiedBy: { type: ['string', 'null'] }, updatedAt: text,
  },
}

/** Opens (or creates) the database `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const db = await createRxDatabase({ name, storage: getRxStorageDexie(), multiInstance: false })
  const { records } = await db.addCollections({ records: { schema: SCHEMA } })

  /** One run of the replication, in both directions, until nothing is left. */
  async function synchronize() {
    const replication = replicateRxCollection({
      collection: records,
      replicationIdentifier: 'bench',
      live: false,
      waitForLeadership: false,
      push: {
        batchSize: BATCH,
        async handler(rows) {
          await send(name, rows.map((row) => row.newDocumentState))
          return []
        },
      },
      pull: {
        batchSize: BATCH,
        async handler(checkpoint) {
          const since = checkpoint?.rev ?? 0
          const answer = await page(name, since)
          return { documents: answer.records.map(toDocument), checkpoint: { rev: answer.checkpoint } }
        },
      },
    })
    const failed = new Promise((_, reject) => { replication.error$.subscribe(reject) })
    await Promise.race([replication.awaitInitialReplication(), failed])
    await replication.cancel()
  }

  return {
    async insertMany(rows) {
      const { error } = await records.bulkInsert(rows)
      if (error.length > 0) throw new Error(`RxDB refused ${error.length} rows`)
    },
    insert: (row) => records.insert(row),
    save: (row) => records.upsert(row),
    list: async () => (await records.find().exec()).map((document) => document.toJSON()),
    pending: async () => null,
    push: synchronize,
    pull: synchronize,
    close: () => db.close(),
  }
}

/** Names that begin with `_` are RxDB's. */
function toDocument({ _updatedAt, _deletedAt, _rev, ...record }) {
  return { ...record, updatedAt: _updatedAt, _deleted: _deletedAt !== null }
}
