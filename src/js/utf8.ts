// Texts on their way into the module. Its own way of passing strings goes through them character by character.
// Not here: what the texts say (`operations.ts`).

const UTF8 = new TextEncoder()
/** Most writes fit in here, whatever their language: then nothing is allocated for them. */
const room = new Uint8Array(16_384)

/** So many characters of short lines are encoded together. */
const TOGETHER = 8_192

/** The lines in UTF-8, to be used or copied before the next call. A lone surrogate becomes U+FFFD. */
export function toBytes(lines: readonly string[]): Uint8Array {
  let length = lines.length
  for (const line of lines) length += line.length
  if (length * 3 <= room.length) return room.subarray(0, UTF8.encodeInto(lines.join('\n'), room).written)
  // Room for what most languages need; encoding into it takes a third of the time of `encode`, which measures and copies.
  const larger = new Uint8Array(length + (length >> 3))
  const written = encodeLines(lines, larger)
  return written === null ? UTF8.encode(lines.join('\n')) : larger.subarray(0, written)
}

/** How many bytes they took; null where there is not room for all. */
function encodeLines(lines: readonly string[], into: Uint8Array): number | null {
  let [at, text] = [0, '']
  const last = lines.length - 1
  for (let line = 0; line <= last; line++) {
    text += line === last ? lines[line] : `${lines[line]}\n`
    if (text.length < TOGETHER && line < last) continue
    const { read, written } = UTF8.encodeInto(text, into.subarray(at))
    if (read < text.length) return null
    at += written
    text = ''
  }
  return at
}
