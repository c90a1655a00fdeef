// Ids of rows that are imported without one: named after their content, as `src/core/plan/import.rs` does, so that the page shows
// them under the ids that the worker will give. The browser's own SHA-256 only answers later. Pure.

import { ROW_PREFIX } from '../values.js'

const K = fractions(64, (n) => Math.cbrt(n))
const START = fractions(8, (n) => Math.sqrt(n))
const UTF8 = new TextEncoder()

/** The id of the nth row of that content in one import, from 1. */
export function rowId(collection: string, row: unknown, times: Map<string, number>): string {
  const content = digest(collection, canonical(row))
  const n = (times.get(content) ?? 0) + 1
  times.set(content, n)
  return ROW_PREFIX + digest(content, String(n))
}

/** Canonical JSON (RFC 8785): members by name, numbers and texts as JavaScript prints them. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`
}

/** The first 16 bytes of SHA-256 over the parts, each behind its length, in hex. */
export function digest(...parts: readonly string[]): string {
  const texts = parts.map((part) => UTF8.encode(part))
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + 8 + text.length, 0))
  let at = 0
  for (const text of texts) {
    new DataView(bytes.buffer).setUint32(at, text.length, true)
    bytes.set(text, at + 8)
    at += 8 + text.length
  }
  return [...sha256(bytes).subarray(0, 4)].map((word) => word.toString(16).padStart(8, '0')).join('')
}

/** FIPS 180-4, as eight words. */
export function sha256(message: Uint8Array): Uint32Array {
  const padded = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64)
  padded.set(message)
  padded[message.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setUint32(padded.length - 8, Math.floor(message.length / 2 ** 29))
  view.setUint32(padded.length - 4, message.length * 8)
  const hash = Uint32Array.from(START)
  const w = new Uint32Array(64)
  for (let block = 0; block < padded.length; block += 64) {
    for (let t = 0; t < 64; t++) w[t] = t < 16 ? view.getUint32(block + t * 4) : small(w, t - 2, 17, 19, 10) + word(w, t - 7) + small(w, t - 15, 7, 18, 3) + word(w, t - 16)
    round(hash, w)
  }
  return hash
}

function round(hash: Uint32Array, w: Uint32Array): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash
  for (let t = 0; t < 64; t++) {
    const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + word(K, t) + word(w, t)) | 0
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + one) | 0
    d = c
    c = b
    b = a
    a = (one + two) | 0
  }
  const next = [a, b, c, d, e, f, g, h]
  for (let at = 0; at < 8; at++) hash[at] = word(hash, at) + (next[at] ?? 0)
}

function word(words: Uint32Array, at: number): number {
  return words[at] ?? 0
}

function turn(x: number, by: number): number {
  return (x >>> by) | (x << (32 - by))
}

function small(w: Uint32Array, at: number, one: number, two: number, shift: number): number {
  const x = word(w, at)
  return turn(x, one) ^ turn(x, two) ^ (x >>> shift)
}

/** The constants are the first 32 bits of the fractions of roots of the first primes. */
function fractions(count: number, root: (prime: number) => number): Uint32Array {
  const primes: number[] = []
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n)
  return Uint32Array.from(primes, (prime) => (root(prime) % 1) * 2 ** 32)
}
