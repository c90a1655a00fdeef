// What lies in the database, read by code that knows the stored form and nothing of Homing: raw rows, counted. For tests that
// must not believe the library about itself. The functions run in a page.

/**
 * Runs in the page: the ids of all records in journal rows and parts of the queue, and how many queue entries there are.
 * Only for databases whose every record is an unsent create.
 *
 * @param {string} name of the IndexedDB database
 * @returns {Promise<{ ids: string[], entries: number, rows: number, compacted: number, segments: number }>}
 */
export async function readRaw(name) {
  const settle = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const found = await indexedDB.databases()
  if (!found.some((database) => database.name === name)) return { ids: [], entries: 0, rows: 0, compacted: 0, segments: 0 }
  const connection = await settle(indexedDB.open(name))
  try {
    if (!connection.objectStoreNames.contains('journal')) return { ids: [], entries: 0, rows: 0, compacted: 0, segments: 0 }
    const transaction = connection.transaction(['journal', 'segments', 'meta'])
    const [journal, segments, meta] = ['journal', 'segments', 'meta'].map((store) => transaction.objectStore(store))
    const [rows, keys, stored, names, compacted] = await Promise.all([journal.getAll(), journal.getAllKeys(), segments.getAll(), segments.getAllKeys(), meta.get('compacted')].map(settle))
    const ids = []
    let entries = 0
    const take = (text, changesOf) => {
      const [head, ...lines] = text.split('\n')
      for (const change of changesOf(JSON.parse(head)).flatMap((entry) => entry.write ?? [])) entries += change.creates?.r.length ?? (change.add === undefined ? 0 : 1)
      for (const line of lines) ids.push(JSON.parse(line).id)
    }
    const decoder = new TextDecoder('utf-8', { fatal: true })
    rows.forEach((row, at) => {
      // The last eight bytes: the head it was planned on. Planned on another one, it never counted.
      const planned = Number(new DataView(row.buffer, row.byteOffset + row.length - 8).getBigUint64(0, true))
      if (planned + 1 === keys[at]) take(decoder.decode(row.subarray(0, -8)), (list) => list)
    })
    stored.forEach((segment, at) => {
      if (names[at].startsWith('q')) take(decoder.decode(segment), ({ entries: list }) => list)
    })
    return { ids, entries, rows: rows.length, compacted: compacted ?? 0, segments: stored.length }
  } finally {
    connection.close()
  }
}
