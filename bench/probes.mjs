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
