// What a page can see of a library from outside: the bytes it hands to IndexedDB and the time it spends loading wasm.
//
// Each probe replaces a built-in method until `stop()`. Probes are for figures that are not times of the peer's own
// work, because a wrapped method is a little slower.

/** Bytes of a value as a structured clone stores it: strings as Latin-1 or UTF-16, numbers as 8, names of fields too. */
export function sizeOf(value) {
  if (typeof value === 'string') return /^[\0-\xff]*$/.test(value) ? value.length : value.length * 2
  if (typeof value === 'number' || typeof value === 'bigint') return 8
  if (value === null || typeof value !== 'object') return 1
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value.byteLength
  if (value instanceof Blob) return value.size
  if (value instanceof Date) return 8
  if (Array.isArray(value)) return value.reduce((sum, item) => sum + sizeOf(item), 0)
  if (value instanceof Map) return [...value].reduce((sum, [key, item]) => sum + sizeOf(key) + sizeOf(item), 0)
  return Object.entries(value).reduce((sum, [name, item]) => sum + sizeOf(name) + sizeOf(item), 0)
}

/** Counts requests and bytes (value and explicit key) of every IndexedDB write of this page. */
export function watchWrites() {
  const totals = { requests: 0, bytes: 0 }
  const undo = [[IDBObjectStore, 'add'], [IDBObjectStore, 'put'], [IDBCursor, 'update']].map(([type, method]) => {
    const original = type.prototype[method]
    type.prototype[method] = function counted(value, ...key) {
      totals.requests += 1
      totals.bytes += sizeOf(value) + (key.length > 0 && key[0] !== undefined ? sizeOf(key[0]) : 0)
      return original.call(this, value, ...key)
    }
    return () => { type.prototype[method] = original }
  })
  return { totals, stop: () => undo.forEach((restore) => restore()) }
}

/** Sums the time between calling a wasm loading function (fetch included where it takes a response) and its answer. */
export function watchWasm() {
  const totals = { ms: 0, modules: 0 }
  const undo = ['instantiateStreaming', 'compileStreaming', 'instantiate', 'compile'].map((method) => {
    const original = WebAssembly[method]
    WebAssembly[method] = async (...args) => {
      const started = performance.now()
      const result = await original.apply(WebAssembly, args)
      totals.ms += performance.now() - started
      totals.modules += 1
      return result
    }
    return () => { WebAssembly[method] = original }
  })
  return { totals, stop: () => undo.forEach((restore) => restore()) }
}

/** The memories of the wasm modules instantiated since. */
export function watchWasmMemory() {
  const memories = new Set()
  const original = WebAssembly.instantiate
  WebAssembly.instantiate = async (...args) => {
    const result = await original.apply(WebAssembly, args)
    const { exports } = result.instance ?? result
    for (const value of Object.values(exports)) if (value instanceof WebAssembly.Memory) memories.add(value)
    return result
  }
  return { bytes: () => [...memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0), stop: () => { WebAssembly.instantiate = original } }
}

/** Whether a value was put into the object store `store` since. */
export function watchStore(store) {
  const totals = { puts: 0 }
  const original = IDBObjectStore.prototype.put
  IDBObjectStore.prototype.put = function counted(...args) {
    if (this.name === store) totals.puts += 1
    return original.apply(this, args)
  }
  return { totals, stop: () => { IDBObjectStore.prototype.put = original } }
}

/** The keys in an object store of the IndexedDB database in whose name `database` occurs: what a worker writes, no probe of the page sees. */
export async function readKeys(database, store) {
  const { name } = (await indexedDB.databases()).find((one) => one.name.includes(database))
  const connection = await answerOf(indexedDB.open(name))
  const keys = await answerOf(connection.transaction(store).objectStore(store).getAllKeys())
  connection.close()
  return keys
}

function answerOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/**
 * How long the page is busy at a stretch: what a task ahead of all others waits for at most, other processes that took the processor
 * included. `longest()` resolves to the longest since the last call, in ms.
 */
export function watchGaps() {
  let [over, gap] = [false, 0]
  const watch = async () => {
    // Without the delay nothing else would ever run.
    for (let last = performance.now(); !over;) {
      await scheduler.postTask(() => {}, { priority: 'user-blocking', delay: 1 })
      const now = performance.now()
      gap = Math.max(gap, now - last)
      last = now
    }
  }
  watch()
  return {
    async longest() {
      await new Promise((resolve) => setTimeout(resolve, 10))
      const longest = gap
      gap = 0
      return longest
    },
    stop: () => { over = true },
  }
}

/**
 * Tasks of the main thread over 50 ms, which is what the browser calls long. `longest()` resolves to the longest since the last call,
 * in ms; 0: there was none.
 */
export function watchLongTasks() {
  const seen = []
  const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()))
  observer.observe({ type: 'longtask' })
  let since = performance.now()
  return {
    async longest() {
      const until = performance.now()
      // Entries come after their task.
      for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setTimeout(resolve))
      seen.push(...observer.takeRecords())
      const during = seen.filter(({ startTime, duration }) => startTime + duration > since && startTime < until)
      since = performance.now()
      return Math.max(0, ...during.map(({ duration }) => duration))
    },
    stop: () => observer.disconnect(),
  }
}
