// Long texts on their way into the module. Its own way of passing strings goes through them character by character.
// Not here: what the texts say (`operations.ts`).

const UTF8 = new TextEncoder()

/** The text in UTF-8. A lone surrogate becomes U+FFFD. */
export function toBytes(text: string): Uint8Array {
  // Room for what most languages need; encoding into it takes a third of the time of `encode`, which measures and copies.
  const room = new Uint8Array(text.length + (text.length >> 3) + 16)
  const { read, written } = UTF8.encodeInto(text, room)
  return read === text.length ? room.subarray(0, written) : UTF8.encode(text)
}
