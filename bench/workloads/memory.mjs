// What a page holds with 20,000 records open and read: its JavaScript heap and its wasm memory, after garbage collection.

import { coldOpen } from '../cold.mjs'
import { watchWasmMemory } from '../probes.mjs'
import { touchRecords, verifyRecords } from '../records.mjs'

const COUNT = 20_000
const MB = 1e6

export const about = {
  title: 'JavaScript heap and wasm memory with 20,000 records open and read',
  unit: 'MB',
  limits: [{ max: 60 }],
  rounds: { full: 1, others: 1, quick: 1 },
  newProcess: true,
  warmUp: false,
  race: false,
}

export const { prepare } = coldOpen(COUNT)

export async function measure({ open, database }) {
  await settle()
  const before = performance.memory.usedJSHeapSize
  const wasm = watchWasmMemory()
  const db = await open(database)
  const rows = await db.list()
  touchRecords(rows)
  await settle()
  const heap = performance.memory.usedJSHeapSize
  wasm.stop()
  verifyRecords(rows, COUNT)
  await db.close()
  return { value: (heap + wasm.bytes()) / MB, info: { 'heap MB': heap / MB, 'wasm MB': wasm.bytes() / MB, 'heap before MB': before / MB } }
}

/** What was begun in the background ends, what nobody holds is gone. */
async function settle() {
  for (let turn = 0; turn < 3; turn += 1) {
    await new Promise((resolve) => requestIdleCallback(resolve))
    globalThis.gc()
  }
}
