// What EGGlogU does today: everything is one JSON text in localStorage, written and sent whole.
//
// Shown, not counted: a resolved write is in the browser's memory, and on disk some seconds later.

import { pages, send } from './plain.mjs'

/** Opens (or creates) the blob `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const stored = localStorage.getItem(name)
  if (stored === null) localStorage.clear() // 5 MB are for one database, not for those of earlier rounds too
  const state = stored === null ? { records: [], dirty: false, checkpoint: 0 } : JSON.parse(stored)
  const places = new Map(state.records.map((record, place) => [record.id, place]))
  const store = () => localStorage.setItem(name, JSON.stringify(state))

  function put(record) {
    const place = places.get(record.id)
    if (place !== undefined) state.records[place] = record
    else places.set(record.id, state.records.push(record) - 1)
  }

  async function save(record) {
    put(record)
    state.dirty = true
    store()
  }

  return {
    async insertMany(records) {
      records.forEach(put)
      state.dirty = true
      store()
    },
    insert: save,
    save,
    list: async () => state.records,
    pending: async () => null, // it knows only whether something changed
    async push() {
      await send(name, state.records)
      state.dirty = false
      store()
    },
    async pull() {
      for await (const page of pages(name, state.checkpoint)) {
        for (const record of page.records) {
          const known = state.records[places.get(record.id)]
          if (known === undefined || known._updatedAt < record._updatedAt) put(record)
        }
        state.checkpoint = page.checkpoint
      }
      store()
    },
    close: async () => {},
  }
}

/** The same for one JSON tree: each save writes all of it. */
export async function openDocument(name) {
  localStorage.clear()
  return {
    async load(tree) {
      return tree
    },
    save: async (tree) => localStorage.setItem(name, JSON.stringify(tree)),
    read: async () => JSON.parse(localStorage.getItem(name)),
    close: async () => localStorage.clear(),
  }
}
