// One changed record of the farm document (`scripts/farm.mjs`, or HOMING_FARM): how long saving it keeps the main thread, per save.
//
// Time of the main thread's tasks, not of the clock: waiting for the disk costs the page nothing. The rival is what the app does
// today, `JSON.stringify` and `setItem` of the whole document.

const SAVES = 10
const COLLECTION = 'dailyProduction'

export const about = {
  title: 'main-thread time of saving the farm document after one record changed',
  unit: 'ms',
  opponent: 'local-storage',
  limits: [{ ratio: 1.0 }, { figure: 'only ms', ratio: 0.2 }],
  rounds: { full: 5, others: 5, quick: 3 },
  peers: ['homing', 'local-storage'],
  race: false,
}

export async function measure({ openDocument, database }) {
  const farm = await fetch('/farm.json').then((response) => response.json())
  const db = await openDocument(database)
  const tree = await db.load(farm)
  const whole = await measureSaves(db, tree, undefined, 0)
  const only = await measureSaves(db, tree, [COLLECTION], SAVES)
  const stored = await db.read()
  const notes = stored[COLLECTION].slice(0, 2 * SAVES).map((row) => row.notes)
  if (notes.some((text, at) => text !== edit(at))) throw new Error(`not saved: ${notes}`)
  if (stored[COLLECTION].length !== farm[COLLECTION].length) throw new Error('rows are missing')
  await db.close()
  return { value: whole, info: { 'only ms': only } }
}

async function measureSaves(db, tree, only, from) {
  await new Promise((resolve) => requestIdleCallback(resolve))
  const before = await globalThis.mainThreadTime()
  for (let at = from; at < from + SAVES; at += 1) {
    tree[COLLECTION][at].notes = edit(at)
    await db.save(tree, only)
  }
  return ((await globalThis.mainThreadTime()) - before) / SAVES
}

const edit = (at) => `edited ${at}`
