// Bytes that lie in a script as text. Imported by the modules that the build makes of them, too (`scripts/build.mjs`). Pure.

/** A loop where the browser cannot do it itself, which is 60 times slower. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const { fromBase64 } = Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }
  if (typeof fromBase64 === 'function') return fromBase64.call(Uint8Array, text)
  const binary = atob(text)
  const decoded = new Uint8Array(binary.length)
  for (let at = 0; at < decoded.length; at++) decoded[at] = binary.charCodeAt(at)
  return decoded
}
