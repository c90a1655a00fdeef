// The opponent: what a careful developer writes with nothing but IndexedDB, and as fast as it can be made.
//
// One row per record in `records`, one row per mutation in `outbox`, both in one transaction. Nothing awaits a single
// request, only the transaction; it is committed explicitly; writes made while a transaction is in flight share the
// next one (group commit). It stamps nothing and merges nothing, so it does less work than any sync engine must.

import { BATCH, pages, send } from './plain.mjs'

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

function connect(name) {
  const request = indexedDB.open(name, 1)
  request.onupgradeneeded = () => {
    request.result.createObjectStore('records', { keyPath: 'id' })
    request.result.createObjectStore('outbox', { autoIncrement: true })
    request.result.createObjectStore('meta')
  }
  return settled(request)
}

function commit(db, records) {
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(['records', 'outbox'], 'readwrite')
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error)
    const rows = transaction.objectStore('records')
    const outbox = transaction.objectStore('outbox')
    for (const record of records) {
      rows.put(record)
      outbox.add({ id: record.id, op: 'put' })
    }
    transaction.commit()
  })
}

/** Opens (or creates) the database `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const db = await connect(name)
  let waiting = []
  let busy = false

  async function flush() {
    while (waiting.length > 0) {
      const group = waiting
      waiting = []
      try {
        await commit(db, group.map((write) => write.record))
        for (const write of group) write.resolve()
      } catch (error) {
        for (const write of group) write.reject(error)
      }
    }
    busy = false
  }

  /** Up to a thousand entries of the queue behind one of them, and the rows they name. */
  async function read(after) {
    const range = after === undefined ? null : IDBKeyRange.lowerBound(after, true)
    const store = db.transaction('outbox').objectStore('outbox')
    const [keys, entries] = await Promise.all([settled(store.getAllKeys(range, BATCH)), settled(store.getAll(range, BATCH))])
    const rows = db.transaction('records').objectStore('records')
    return { keys, records: await Promise.all([...new Set(entries.map(({ id }) => id))].map((id) => settled(rows.get(id)))) }
  }

  function forget(keys) {
    return new Promise((resolve, reject) => {
      const transaction = db.transaction('outbox', 'readwrite')
      transaction.oncomplete = () => resolve()
      transaction.onabort = () => reject(transaction.error)
      transaction.objectStore('outbox').delete(IDBKeyRange.bound(keys[0], keys.at(-1)))
      transaction.commit()
    })
  }

  /** By the thousand, one request at a time: while it is under way the next batch is read, and the one before is forgotten. */
  async function push() {
    let forgotten
    for (let batch = await read(); batch.keys.length > 0;) {
      const [next] = await Promise.all([read(batch.keys.at(-1)), send(name, batch.records), forgotten])
      forgotten = forget(batch.keys)
      batch = next
    }
    await forgotten
  }

  /** Page by page, the next one on its way while this one is merged: the later version of each row stays. */
  async function pull() {
    const since = (await settled(db.transaction('meta').objectStore('meta').get('checkpoint'))) ?? 0
    for await (const page of pages(name, since)) {
      await new Promise((resolve, reject) => {
        const transaction = db.transaction(['records', 'meta'], 'readwrite')
        transaction.oncomplete = () => resolve()
        transaction.onabort = () => reject(transaction.error)
        const rows = transaction.objectStore('records')
        for (const record of page.records) {
          const stored = rows.get(record.id)
          stored.onsuccess = () => { if (!stored.result || stored.result._updatedAt < record._updatedAt) rows.put(record) }
        }
        transaction.objectStore('meta').put(page.checkpoint, 'checkpoint')
      })
    }
  }

  function write(record) {
    return new Promise((resolve, reject) => {
      waiting.push({ record, resolve, reject })
      if (busy) return
      busy = true
      queueMicrotask(flush)
    })
  }

  return {
    push,
    pull,
    insertMany: (records) => commit(db, records),
    insert: write,
    save: write,
    list: () => settled(db.transaction('records').objectStore('records').getAll()),
    pending: () => settled(db.transaction('outbox').objectStore('outbox').count()),
    close: async () => db.close(),
  }
}
