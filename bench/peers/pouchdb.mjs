// PouchDB on its idb adapter, with CouchDB's replication. It has no queue: what is newer than the replication's checkpoint is sent.

import PouchDB from 'pouchdb-browser'
import { BATCH } from './plain.mjs'

/** Opens (or creates) the database `name`; resolves to the peer interface of `bench/page.mjs`. */
export async function open(name) {
  const db = new PouchDB(name, { adapter: 'idb' })
  await db.info()
  const remote = new PouchDB(new URL(`/sync/${name}/couch`, location.href).href, { fetch: fetchCouch, skip_setup: true })
  const replicate = async (source, target) => {
    const { ok, errors } = await source.replicate.to(target, { batch_size: BATCH })
    if (!ok) throw new Error(`replication: ${errors[0]}`)
  }
  return {
    async insertMany(records) {
      const refused = (await db.bulkDocs(records.map(toDocument))).filter(({ error }) => error)
      if (refused.length > 0) throw new Error(`PouchDB refused ${refused.length} rows: ${refused[0].message}`)
    },
    insert: (record) => db.put(toDocument(record)),
    save: async (record) => db.put({ ...toDocument(record), _rev: (await db.get(record.id))._rev }),
    list: async () => (await db.allDocs({ include_docs: true })).rows.map(({ doc: { _id, ...fields } }) => ({ id: _id, ...fields })),
    pending: async () => null,
    push: () => replicate(db, remote),
    pull: () => replicate(remote, db),
    close: () => db.close(),
  }
}

function toDocument({ id, ...fields }) {
  return { _id: id, ...fields }
}

/** The bench's server says 200 to all and CouchDB's status beside it: an expected 404 would be an error of the page otherwise. */
async function fetchCouch(url, options) {
  const response = await fetch(url, options)
  return new Response(response.body, { status: Number(response.headers.get('x-status') ?? response.status), headers: response.headers })
}
