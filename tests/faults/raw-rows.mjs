// What lies in the database, read by code that knows the stored form and nothing of Homing: raw rows, counted. For tests that
// must not believe the library about itself. The functions run in a page.

/**
 * Runs in the page: the ids of all records in journal rows and parts of the queue, and how many queue entries there are.
 * Only for databases whose every record is an unsent create.
 *
 * @param {string} name of the IndexedDB database
 * @returns {Promise<{ ids: string[], entries: number, rows: number, compacted: number, segments: number, left: number, absent: string[] }>}
 *   `left`: segments that count for nothing; `absent`: those that should be there
 */
export async function readRaw(name) {
  const settle = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const found = await indexedDB.databases()
  const nothing = { ids: [], entries: 0, rows: 0, compacted: 0, segments: 0, left: 0, absent: [] }
  if (!found.some((database) => database.name === name)) return nothing
  const connection = await settle(indexedDB.open(name))
  try {
    if (!connection.objectStoreNames.contains('journal')) return nothing
    const transaction = connection.transaction(['journal', 'segments', 'meta'])
    const [journal, segments, meta] = ['journal', 'segments', 'meta'].map((store) => transaction.objectStore(store))
    const [rows, keys, stored, places, compacted, mark] = await Promise.all([journal.getAll(), journal.getAllKeys(), segments.getAll(), segments.getAllKeys(), meta.get('compacted'), meta.get('keys')].map(settle))
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
    // What lies under another key than its own is of a compaction that did not end: it does not count.
    const named = Object.entries(JSON.parse(mark ?? '{}')).map(([name, token]) => ({ name, at: places.indexOf(`${name}@${token}`) }))
    const absent = named.filter(({ at }) => at < 0).map(({ name }) => name)
    for (const { name, at } of named) if (at >= 0 && name.startsWith('q')) take(decoder.decode(stored[at]), ({ entries: list }) => list)
    return { ids, entries, rows: rows.length, compacted: compacted ?? 0, segments: named.length, left: stored.length - named.length + absent.length, absent }
  } finally {
    connection.close()
  }
}
