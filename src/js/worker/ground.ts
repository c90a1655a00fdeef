// What the worker needs to stand on and has no module of its own: bytes of a text, a row of random numbers. Pure.

/** A loop where the browser cannot do it itself. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const { fromBase64 } = Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }
  if (typeof fromBase64 === 'function') return fromBase64.call(Uint8Array, text)
  const binary = atob(text)
  const decoded = new Uint8Array(binary.length)
  for (let at = 0; at < decoded.length; at++) decoded[at] = binary.charCodeAt(at)
  return decoded
}

/** The app's randomness goes on here from one number of it: its function cannot be asked from a worker (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = Math.floor(seed * 2 ** 32) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
