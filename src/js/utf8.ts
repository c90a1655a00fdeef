// Texts on their way into the module. Its own way of passing strings goes through them character by character.
// Not here: what the texts say (`operations.ts`).

const UTF8 = new TextEncoder()
/** Most writes fit in here, whatever their language: then nothing is allocated for them. */
const room = new Uint8Array(16_384)

/** The text in UTF-8, to be used or copied before the next call. A lone surrogate becomes U+FFFD. */
export function toBytes(text: string): Uint8Array {
  if (text.length * 3 <= room.length) return room.subarray(0, UTF8.encodeInto(text, room).written)
  // Room for what most languages need; encoding into it takes a third of the time of `encode`, which measures and copies.
  const larger = new Uint8Array(text.length + (text.length >> 3))
  const { read, written } = UTF8.encodeInto(text, larger)
  return read === text.length ? larger.subarray(0, written) : UTF8.encode(text)
}
