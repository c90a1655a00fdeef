// Compares what a device shows with what the server's tables hold, record by record, read by SQL.

import { firstDifference } from './equality.mjs'
import { readServerRows } from './sql.mjs'

/** Kept beside the fields for merging; not part of what a record says. */
const HIDDEN = ['_fieldTimes', '_crdt']

/**
 * Throws at the first record that a device and the server do not have in the same version: content, stamp and `_rev`.
 *
 * @param {{ id: string, run: Function }} device
 * @param {{ database: string }} server
 * @param {{ except?: readonly string[] }} [options] `collection/id` of records that wait for a user
 */
export async function assertSameAsServer(device, server, { except = [] } = {}) {
  const stored = await readServerRows(server.database)
  const living = [...stored.values()].filter(({ deleted, collection, id }) => !deleted && !except.includes(`${collection}/${id}`))
  const names = [...new Set([...stored.values()].map(({ collection }) => collection))]
  const shown = new Map(JSON.parse(await device.run(listRows, names)))
  for (const key of except) shown.delete(key)
  for (const { collection, id, record } of living) {
    const key = `${collection}/${id}`
    if (!shown.has(key)) throw new Error(`${device.id} does not show ${key}`)
    const difference = firstDifference(withoutHidden(shown.get(key)), withoutHidden(record))
    if (difference !== null) throw new Error(`${device.id} shows another ${key}: ${difference.path} is ${JSON.stringify(difference.actual)}, on the server ${JSON.stringify(difference.expected)}`)
    shown.delete(key)
  }
  if (shown.size > 0) throw new Error(`${device.id} shows what the server does not have: ${[...shown.keys()].slice(0, 5).join(', ')}`)
}

// Runs in the page. As one text: 20,000 objects take seconds on the way out of a browser.
function listRows(db, names) {
  return JSON.stringify(names.flatMap((name) => db.collection(name).list().map((row) => [`${name}/${row.id}`, row])))
}

function withoutHidden(record) {
  return Object.fromEntries(Object.entries(record).filter(([name, value]) => !HIDDEN.includes(name) && !(name === '_deletedAt' && value === null)))
}
