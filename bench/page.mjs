// The browser's half: runs one step of one workload on one peer and answers with plain data.
//
// A peer module exports `open(name)`, which resolves to
//   insertMany(records)  resolves when all are durable
//   insert(record)       resolves when durable; many may be in flight
//   save(record)         the same for a new version of a record that is there
//   list()               resolves to every record as a plain object
//   pending()            resolves to the number of writes queued for a server, or null where nothing is counted
//   push()               resolves when a server has acknowledged everything queued, and the queue knows it durably
//   pull()               resolves when everything a server has is merged and durable
//   close()              resolves when nothing of it runs any more
// and, for the workload `document`, `openDocument(name)`, for `smooth-worker` `openInWorker(name)`, like `open`. Which peers and
// workloads there are, how often they run and what their figures mean is decided in `run.mjs`.

import { serverOf } from './server-control.mjs'

const collectGarbage = globalThis.gc ?? (() => {})

/**
 * Imports the peer's and the workload's module (that is page load, and not measured), cleans up after the previous
 * step, then calls `step` ('prepare' or 'measure') of the workload with `open` and the database's name.
 */
async function run({ module, workload, step, database }) {
  const { open, openDocument, openInWorker } = await import(module)
  const steps = await import(`./workloads/${workload}.mjs`)
  collectGarbage()
  await new Promise((resolve) => requestIdleCallback(resolve))
  return steps[step]({ open, openDocument, openInWorker, database, server: serverOf(database) })
}

globalThis.bench = { run }
