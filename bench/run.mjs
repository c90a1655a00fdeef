// `npm run bench`: the same work on Homing and on its peers, interleaved in one run in real Chromium.
//
//   npm run bench                       all workloads; writes bench/RESULTS.md; under 10 minutes
//   npm run bench -- --quick            fewer rounds, under 3 minutes
//   npm run bench -- --only bulk,burst  some workloads; RESULTS.md stays as it is
//   npm run bench -- --profile          also prints where each peer's time goes (one extra, profiled round)
//
// Sets up and builds first what is missing or changed. Exit code 1: a limit is exceeded, a result is wrong, or it could not start.
// Lives here: the order of rounds. What is measured is in `workloads/`, on whom in `peers/`, what it means in `report.mjs`.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { setUp } from '../scripts/setup.mjs'
import { SetupError, runMain } from '../scripts/support/process.mjs'
import { readVersion, withBrowser, withPages, withProfile } from './browser.mjs'
import { profileStep } from './profile.mjs'
import { formatMarkdown, formatText, judge } from './report.mjs'
import { interleave } from './statistics.mjs'

const WORKLOADS = ['bulk', 'burst', 'single', 'delta-merge', 'cold-open', 'amplification']
const SUBJECT = 'homing'
const OPPONENT = 'hand-written'
const PEERS = [SUBJECT, OPPONENT]

const HELP = `Usage: npm run bench [-- --quick] [-- --only NAME,NAME] [-- --profile]

Measures the same work on Homing and on hand-written IndexedDB, interleaved in one run in real Chromium.
  --quick    fewer rounds, under 3 minutes
  --only     some of ${WORKLOADS.join(', ')}; RESULTS.md stays as it is
  --profile  also prints where each peer's time goes
Without options: all workloads; writes bench/RESULTS.md. Fails when a limit is exceeded or a result is wrong.`

function readOptions() {
  const options = { quick: { type: 'boolean' }, only: { type: 'string' }, profile: { type: 'boolean' }, help: { type: 'boolean' } }
  const { quick = false, only, profile = false, help = false } = parseArgs({ options }).values
  if (help) return null
  const names = only?.split(',') ?? WORKLOADS
  const unknown = names.filter((name) => !WORKLOADS.includes(name))
  if (unknown.length > 0) throw new SetupError(`There is no workload ${unknown.join(', ')}.`, `Name some of ${WORKLOADS.join(', ')}.`)
  return { names, quick, profile, complete: only === undefined }
}

/** One browser process, one page per peer, a new database for each measurement. */
function measureInOneProcess({ name, pageOf, schedule }) {
  return withProfile((profile) => withBrowser(profile, async (open) => {
    const pages = new Map()
    for (const peer of PEERS) pages.set(peer, await open(pageOf(peer)))
    await schedule((peer, label, use) => {
      const page = pages.get(peer)
      return use(page, () => page.run({ workload: name, peer, step: 'measure', database: `${name}-${label}` }))
    })
  }))
}

/** `prepare` once per peer, then a new browser process on the same profile for each measurement. */
function measureInNewProcesses({ name, pageOf, schedule }) {
  return withProfile(async (profile) => {
    const inBrowser = (peer, step, use) => withBrowser(profile, async (open) => {
      const page = await open(pageOf(peer))
      return use(page, () => page.run({ workload: name, peer, step, database: name }))
    })
    for (const peer of PEERS) await inBrowser(peer, 'prepare', (_page, run) => run())
    await schedule((peer, _label, use) => inBrowser(peer, 'measure', use))
  })
}

/** The rounds of one workload, the first of which is not recorded, and at the end a profiled one if asked for. */
async function runRounds({ name, rounds, warmUp, profile, record }, measure) {
  for (let round = warmUp ? -1 : 0; round < rounds; round += 1) {
    for (const peer of interleave(PEERS, round + 1)) {
      const sample = await measure(peer, `round-${round}`, (_page, run) => run())
      if (round >= 0) record(peer, sample)
    }
  }
  for (const peer of profile ? PEERS : []) {
    const top = await measure(peer, 'profiled', profileStep)
    console.log(`\n${name}, ${peer}: own time\n${top}`)
  }
}

async function runWorkload(name, { quick, profile }, pageOf) {
  const { about } = await import(`./workloads/${name}.mjs`)
  const samples = new Map(PEERS.map((peer) => [peer, []]))
  const task = {
    name,
    profile,
    rounds: quick ? about.rounds.quick : about.rounds.full,
    warmUp: about.warmUp ?? true,
    record: (peer, sample) => samples.get(peer).push(sample),
  }
  const started = Date.now()
  const measureAll = about.newProcess ? measureInNewProcesses : measureInOneProcess
  await measureAll({ name, pageOf, schedule: (measure) => runRounds(task, measure) })
  console.log(`${name}: ${task.rounds} rounds in ${((Date.now() - started) / 1000).toFixed(1)} s`)
  return judge({ name, about, samples, subject: SUBJECT, opponent: OPPONENT })
}

async function main() {
  const options = readOptions()
  if (options === null) return console.log(HELP)
  await build()
  await setUp(['browser'])
  const results = await withPages(async (pageOf) => {
    const judged = []
    for (const name of options.names) judged.push(await runWorkload(name, options, pageOf))
    return judged
  })
  console.log(`\n${formatText(results)}\n`)
  if (options.complete) {
    const facts = { quick: options.quick, version: await readVersion(), opponent: OPPONENT }
    await writeFile(join(import.meta.dirname, 'RESULTS.md'), formatMarkdown(results, facts))
  }
  const failures = results.flatMap((result) => result.failures)
  for (const failure of failures) console.error(`bench: ${failure}`)
  if (failures.length > 0) process.exitCode = 1
}

await runMain(main)
