// Where a peer's time goes: the CPU profile of the measured stretch of one step, as functions by their own time.

const LINES = 20

/** Runs `work` while the page is profiled and returns the top functions of what `clock.mjs` measured, one per line. */
export async function profileStep(page, work) {
  const session = await page.session()
  await session.send('Profiler.enable')
  await session.send('Profiler.setSamplingInterval', { interval: 200 })
  const finished = new Promise((resolve) => session.once('Profiler.consoleProfileFinished', resolve))
  await work()
  const { profile } = await finished
  await session.detach()
  return topFunctions(profile)
}

function topFunctions(profile) {
  const own = new Map()
  const names = new Map(profile.nodes.map(({ id, callFrame }) => {
    const file = callFrame.url.split('/').pop()
    return [id, `${callFrame.functionName || '(anonymous)'}${file ? ` ${file}:${callFrame.lineNumber + 1}` : ''}`]
  }))
  profile.samples.forEach((id, index) => {
    const name = names.get(id)
    own.set(name, (own.get(name) ?? 0) + profile.timeDeltas[index] / 1000)
  })
  const top = [...own].filter(([name]) => !name.startsWith('measureTime ')).sort((a, b) => b[1] - a[1]).slice(0, LINES)
  return top.map(([name, ms]) => `${ms.toFixed(1).padStart(9)} ms  ${name}`).join('\n')
}
