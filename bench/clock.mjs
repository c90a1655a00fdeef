// The measured stretch of a workload: what the clock sees is also what the profiler sees.

/**
 * Runs `work` and resolves to the milliseconds until its promise is settled.
 *
 * `console.profile` does nothing unless `run.mjs --profile` listens (`profile.mjs`).
 */
export async function measureTime(work) {
  console.profile('measured')
  const started = performance.now()
  await work()
  const ms = performance.now() - started
  console.profileEnd('measured')
  return ms
}
