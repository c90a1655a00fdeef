// The log of Chromium's own store (LevelDB's format: `doc/log_format.md` there): did the browser write on behind a record that a kill
// had cut? It does: head and body of a record are two writes, and a SIGKILL between them leaves the head alone. The next start drops
// it, opens, and goes on right behind it; the start after that finds a damaged log and deletes every database of the origin (the page
// is told `UnknownError: Internal error opening backing store`). Seen about once in a hundred kills during writes. No page can prevent it.
// A test that counts what a kill costs us has to know what it cost the browser. Not here: what records mean.

import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'

const BLOCK = 32_768
/** Checksum, length and type of a fragment. */
const HEADER = 7
const [FULL, FIRST, MIDDLE, LAST] = [1, 2, 3, 4]

/** Whether the next browser on this profile will throw its databases away. */
export async function isDamaged(profile) {
  return (await Promise.all((await findLogs(profile)).map((log) => readFile(log)))).some(goesOnBehindACut)
}

/** The logs of all origins: their paths. */
export async function findLogs(profile) {
  const folder = join(profile, 'Default', 'IndexedDB')
  const names = await readdir(folder, { recursive: true })
  return names.filter((name) => /\.leveldb\/\d+\.log$/.test(name)).map((name) => join(folder, name))
}

/** Whether something follows a fragment that is not whole. One cut at the very end is what a kill leaves, and is dropped. */
export function goesOnBehindACut(log) {
  let within = false
  for (let at = 0; at + HEADER <= log.length;) {
    const left = BLOCK - at % BLOCK
    if (left < HEADER) {
      at += left
      continue
    }
    const [length, type] = [log.readUInt16LE(at + 4), log[at + 6]]
    const end = at + HEADER + length
    if (length + HEADER > left) return true
    if (end > log.length) return false
    const fits = within ? type === MIDDLE || type === LAST : type === FULL || type === FIRST
    if (!fits || log.readUInt32LE(at) !== masked(crc32c(log.subarray(at + 6, end)))) return true
    within = type === FIRST || type === MIDDLE
    at = end
  }
  return false
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? n >>> 1 ^ 0x82f63b78 : n >>> 1
  return n >>> 0
})

/** Castagnoli's; Node knows the other one only. */
function crc32c(bytes) {
  let crc = 0xffffffff
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ crc >>> 8
  return ~crc >>> 0
}

/** LevelDB stores no checksum as it is, because logs may hold logs. */
function masked(crc) {
  return ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0
}
