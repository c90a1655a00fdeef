// Reads a stored database while the module is still being compiled: what the engine asks for first is there when it asks.
// A hint, whatever happens: where it finds nothing, or anything odd, the engine looks for itself. Nothing is created here.
// Not here: what the stores mean (`src/storage/indexeddb/schema.rs`), everything after the first look.

/** One consistent view of marks and journal, and the connection it was read with; `src/storage/indexeddb/early.rs` takes it over. */
interface EarlyRead {
  readonly db: IDBDatabase
  readonly format: unknown
  readonly incarnation: unknown
  readonly compacted: unknown
  readonly index: unknown
  readonly rows: readonly unknown[]
  readonly newest: unknown
}

const MARKS = ['format', 'incarnation', 'compacted', 'index'] as const

/** A reading under way. */
export class EarlyReading {
  /** Never rejects; null where there is nothing, or the browser refused. */
  readonly read: Promise<EarlyRead | null>

  constructor(stored: string) {
    this.read = openExisting(stored).then(async (db) => {
      try {
        return db === null ? null : { db, ...await ask(db) }
      } catch {
        db?.close()
        return null
      }
    })
  }

  /** Nobody takes it over. */
  async drop(): Promise<void> {
    (await this.read)?.db.close()
  }
}

function openExisting(stored: string): Promise<IDBDatabase | null> {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open(stored)
      // There is none: taking the upgrade back leaves none behind.
      request.onupgradeneeded = () => request.transaction?.abort()
      request.onsuccess = () => resolve(request.result)
      request.onerror = (event) => {
        event.preventDefault()
        resolve(null)
      }
    } catch {
      // Forbidden here; the engine will say so.
      resolve(null)
    }
  })
}

/** Asks for everything at once, in one view. */
async function ask(db: IDBDatabase): Promise<Omit<EarlyRead, 'db'>> {
  // Another tab deletes it: let go, or that tab waits for us.
  db.onversionchange = () => db.close()
  const transaction = db.transaction(['meta', 'journal'])
  const [meta, journal] = [transaction.objectStore('meta'), transaction.objectStore('journal')]
  const cursor = answer(journal.openKeyCursor(null, 'prev'))
  const [newest, rows, ...marks] = await Promise.all([cursor, answer<unknown[]>(journal.getAll()), ...MARKS.map((mark) => answer<unknown>(meta.get(mark)))])
  const [format, incarnation, compacted, index] = marks
  return { format, incarnation, compacted, index, rows, newest: newest?.key }
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error as DOMException)
  })
}
