// TanStack DB with offline-transactions: what was not sent yet is durable in its outbox, rows of the server are kept in memory.
//
// A call is a transaction and one row of the outbox. Its own storage adapter says that a row is written when the request succeeds, before
// the IndexedDB transaction is complete; here it waits for that, so that durable means the same as for the others.

import { createCollection } from '@tanstack/db'
import { IndexedDBAdapter, startOfflineExecutor } from '@tanstack/offline-transactions'
import { page, send } from './plain.mjs'

/** Opens (or creates) the outbox `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const written = new Map()
  const network = switchable()
  let server // how rows of the server get into the collection
  const records = createCollection({
    id: name,
    getKey: (record) => record.id,
    sync: { sync: (methods) => { server = methods; methods.markReady() } },
    startSync: true,
  })
  const confirm = (rows) => {
    server.begin()
    for (const row of rows) server.write({ type: records._state.syncedData.has(row.id) ? 'update' : 'insert', value: row })
    server.commit()
  }
  const offline = startOfflineExecutor({
    collections: { records },
    storage: durable(new IndexedDBAdapter(name, 'transactions'), written),
    onlineDetector: network.detector,
    mutationFns: {
      async pushRecords({ transaction }) {
        const rows = transaction.mutations.map(({ modified }) => modified)
        await send(name, rows)
        confirm(rows)
      },
    },
  })
  await offline.waitForInit()
  if (!offline.isOfflineEnabled) throw new Error('TanStack offline-transactions: this page is not the leader')
  const sending = new Set()

  /** Resolves when the transaction is in the outbox; it is sent by `push`. */
  function write(change) {
    const transaction = offline.createOfflineTransaction({ mutationFnName: 'pushRecords', autoCommit: false })
    const stored = new Promise((resolve, reject) => { written.set(`tx:${transaction.id}`, { resolve, reject }) })
    transaction.mutate(change)
    const sent = transaction.commit().finally(() => sending.delete(sent))
    sending.add(sent)
    return stored
  }

  let checkpoint = 0
  return {
    insertMany: (rows) => write(() => records.insert(rows)),
    insert: (row) => write(() => records.insert(row)),
    save: (row) => write(() => records.update(row.id, (draft) => Object.assign(draft, row))),
    list: async () => records.toArray,
    pending: async () => (await offline.peekOutbox()).reduce((sum, { mutations }) => sum + mutations.length, 0),
    async push() {
      network.set(true)
      await Promise.all(sending)
      network.set(false)
    },
    async pull() {
      for (let more = true; more;) {
        const answer = await page(name, checkpoint)
        confirm(answer.records)
        checkpoint = answer.checkpoint
        more = answer.more
      }
    },
    async close() {
      offline.dispose()
      await records.cleanup()
    },
  }
}

/** Lets `set` wait for the transaction, and calls `resolve` of what is registered under the key. */
function durable(adapter, written) {
  adapter.set = async (key, value) => {
    const store = await adapter.getStore('readwrite')
    const waiting = written.get(key)
    written.delete(key)
    try {
      await new Promise((resolve, reject) => {
        store.transaction.oncomplete = () => resolve()
        store.transaction.onabort = () => reject(store.transaction.error)
        store.put(value, key)
      })
      waiting?.resolve()
    } catch (error) {
      waiting?.reject(error)
      throw error
    }
  }
  return adapter
}

/** A network that is there when told. */
function switchable() {
  const listeners = new Set()
  let online = false
  return {
    detector: {
      subscribe: (listener) => { listeners.add(listener); return () => listeners.delete(listener) },
      notifyOnline: () => listeners.forEach((listener) => listener()),
      isOnline: () => online,
      dispose: () => listeners.clear(),
    },
    set(value) {
      online = value
      if (online) listeners.forEach((listener) => listener())
    },
  }
}
