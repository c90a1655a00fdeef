// The browser's half: runs one step of one workload on one peer and answers with plain data.
//
// A peer module exports `open(name)`, which resolves to
//   insertMany(records)  resolves when all are durable
//   insert(record)       resolves when durable; many may be in flight
//   list()               resolves to every record as a plain object
//   pending()            resolves to the number of writes queued for a server
//   pull()               resolves when everything a server has is merged and durable
//   close()              resolves when nothing of it runs any more
// Which peers and workloads there are, how often they run and what their figures mean is decided in `run.mjs`.

const collectGarbage = globalThis.gc ?? (() => {})

/**
 * Imports the peer's and the workload's module (that is page load, and not measured), cleans up after the previous
 * step, then calls `step` ('prepare' or 'measure') of the workload with `open` and the database's name.
 */
async function run({ peer, workload, step, database }) {
  const { open } = await import(`./peers/${peer}.mjs`)
  const steps = await import(`./workloads/${workload}.mjs`)
  collectGarbage()
  await new Promise((resolve) => requestIdleCallback(resolve))
  return steps[step]({ open, database })
}

globalThis.bench = { run }
