// Long texts on their way into the module. Its own way of passing strings goes through them character by character.
// Not here: what the texts say (`operations.ts`).

const UTF8 = new TextEncoder()

/** Up to this length a loop of ours is faster than asking the browser. */
const SHORT = 1024
/** Short texts of plain characters, until the next one: the caller copies them at once. */
const SCRATCH = new Uint8Array(SHORT)

/** The text in UTF-8, valid until the next call. A lone surrogate becomes U+FFFD. */
export function toBytes(text: string): Uint8Array {
  if (text.length <= SHORT && copyPlain(text)) return SCRATCH.subarray(0, text.length)
  // Room for what most languages need; encoding into it takes a third of the time of `encode`, which measures and copies.
  const room = new Uint8Array(text.length + (text.length >> 3) + 16)
  const { read, written } = UTF8.encodeInto(text, room)
  return read === text.length ? room.subarray(0, written) : UTF8.encode(text)
}

function copyPlain(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code > 127) return false
    SCRATCH[at] = code
  }
  return true
}
