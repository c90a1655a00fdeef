// `npm run bench`: the same work on Homing and on what a user would pick instead, interleaved in one run in real Chromium.
//
//   npm run bench                       everything; writes bench/RESULTS.md and bench/results.svg; under 15 minutes
//   npm run bench -- --quick            fewer rounds; RESULTS.md is written all the same
//   npm run bench -- --only bulk,burst  some workloads; RESULTS.md stays as it is
//   npm run bench -- --peers homing,hand-written
//   npm run bench -- --profile          also prints where each peer's time goes (one extra, profiled round)
//   npm run bench -- --merge            writes RESULTS.md also from a part, beside the figures of earlier runs of the other parts
//   npm run bench -- --no-build         measures dist/ as it is
//
// Sets up and builds first what is missing or changed. Exit code 1: a limit is exceeded, a result is wrong, or it could not start.
// Lives here: the order of rounds. What is measured is in `workloads/`, on whom in `peers.mjs`, what it means in `report.mjs`.

import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { setUp } from '../scripts/setup.mjs'
import { SetupError, runMain } from '../scripts/support/process.mjs'
import { readVersion, withBrowser, withPages, withProfile } from './browser.mjs'
import { bundlePeers, installPeers, measureSize, moduleOf, readBuild, readVersions } from './bundles.mjs'
import { OPPONENT, PEERS, SUBJECT, peersOf, rivals } from './peers.mjs'
import { profileStep } from './profile.mjs'
import { formatText, judge } from './report.mjs'
import { interleave } from './statistics.mjs'
import { writeResults } from './results.mjs'

const WORKLOADS = [
  'bulk', 'burst', 'single', 'drain', 'push-edits', 'delta-merge', 'cold-open', 'cold-open-50k', 'cold-open-100k', 'growth',
  'memory', 'size', 'document', 'smooth', 'smooth-4x', 'smooth-worker', 'amplification',
]

const HELP = `Usage: npm run bench [-- --quick] [-- --only NAME,NAME] [-- --peers NAME,NAME] [-- --profile] [-- --merge]

Measures the same work on Homing and on what a user would pick instead, interleaved in one run in real Chromium.
  --quick    fewer rounds; without --only and --peers it writes bench/RESULTS.md over what a full run measured
  --only     some of ${WORKLOADS.join(', ')}
  --peers    some of ${PEERS.map(({ name }) => name).join(', ')}
  --profile  also prints where each peer's time goes
  --merge    writes RESULTS.md from a part, too: figures of the other parts stay
  --no-build measures dist/ as it is
Without options: everything; writes bench/RESULTS.md and its chart. Fails when a limit is exceeded or a result is wrong.`

function readOptions() {
  const text = { type: 'string' }
  const flag = { type: 'boolean', default: false }
  const { quick, only, peers, profile, merge, help, 'no-build': asBuilt } = parseArgs({ options: { quick: flag, only: text, peers: text, profile: flag, merge: flag, 'no-build': flag, help: flag } }).values
  if (help) return null
  const names = choose(only, WORKLOADS, 'workload')
  const chosen = choose(peers, PEERS.map(({ name }) => name), 'peer')
  return { names, peers: PEERS.filter(({ name }) => chosen.includes(name)), quick, profile, merge, asBuilt, write: merge || (only === undefined && peers === undefined) }
}

function choose(given, known, kind) {
  const names = given?.split(',') ?? known
  const unknown = names.filter((name) => !known.includes(name))
  if (unknown.length > 0) throw new SetupError(`There is no ${kind} ${unknown.join(', ')}.`, `Name some of ${known.join(', ')}.`)
  return names
}

/** One browser process, one page per peer, a new database for each measurement. */
function measureInOneProcess({ name, peers, pageOf, schedule }) {
  return withProfile((profile) => withBrowser(profile, async (open) => {
    const pages = new Map()
    for (const peer of peers) pages.set(peer, await open(pageOf(peer.name)))
    await schedule((peer, label, use) => {
      const page = pages.get(peer)
      return use(page, () => page.run({ workload: name, module: moduleOf(peer), step: 'measure', database: `${name}-${label}` }))
    })
  }))
}

/** `prepare` once per peer, before its first measurement, then a new browser process on the same profile for each. */
function measureInNewProcesses({ name, about, pageOf, schedule }) {
  return withProfile(async (profile) => {
    const inBrowser = (peer, step, use) => withBrowser(profile, async (open) => {
      const page = await open(pageOf(peer.name))
      if (step === 'measure' && about.throttle !== undefined) await page.throttle(about.throttle)
      return use(page, () => page.run({ workload: name, module: moduleOf(peer), step, database: name }))
    })
    const prepared = new Set()
    await schedule(async (peer, _label, use) => {
      if (!prepared.has(peer)) await inBrowser(peer, 'prepare', (_page, run) => run())
      prepared.add(peer)
      return inBrowser(peer, 'measure', use)
    })
  })
}

/** No page at all. */
function measureInNode({ schedule }) {
  return schedule((peer, _label, use) => use(null, () => measureSize(peer)))
}

/** Everybody takes part in the first rounds; then those go on that the limits are about. */
function takesPart(peer, round, { about, quick }) {
  const { full, others = full, quick: few } = about.rounds
  const limited = peer.name === SUBJECT || peer.name === (about.opponent ?? OPPONENT)
  return round < (quick ? Math.min(few, limited ? few : others) : limited ? full : others)
}

/**
 * The rounds of one workload, the first of which is not recorded, and at the end a profiled one if asked for. Resolves to what went wrong:
 * a peer that fails once is out of the workload.
 */
async function runRounds({ task, peers, profile, samples }, measure) {
  const { rounds, warmUp = true } = task.about
  const failures = new Map()
  for (let round = warmUp ? -1 : 0; round < rounds.full; round += 1) {
    for (const peer of interleave(peers, round + 1).filter((peer) => takesPart(peer, round, task) && !failures.has(peer))) {
      try {
        const sample = await measure(peer, `round${round + 1}`, (_page, run) => run())
        if (round >= 0) samples.set(peer.name, [...samples.get(peer.name) ?? [], sample])
      } catch (error) {
        failures.set(peer, `${task.name}: ${peer.name} failed: ${error.message}`)
        samples.delete(peer.name)
      }
    }
  }
  for (const peer of profile ? peers : []) {
    const top = await measure(peer, 'profiled', profileStep)
    console.log(`\n${task.name}, ${peer.name}: own time\n${top}`)
  }
  return [...failures.values()]
}

async function runWorkload(name, { quick, profile, peers: chosen }, pageOf) {
  const { about } = await import(`./workloads/${name}.mjs`)
  const peers = peersOf(name, about, chosen)
  const samples = new Map()
  const broken = []
  const schedule = async (measure) => broken.push(...await runRounds({ task: { name, about, quick }, peers, profile, samples }, measure))
  const started = Date.now()
  const measureAll = about.node ? measureInNode : about.newProcess ? measureInNewProcesses : measureInOneProcess
  await measureAll({ name, about, peers, pageOf, schedule })
  const inOrder = new Map(peers.flatMap((peer) => (samples.has(peer.name) ? [[peer.name, samples.get(peer.name)]] : [])))
  const judged = judge({ name, about, samples: inOrder, subject: SUBJECT, opponent: about.opponent ?? OPPONENT, rivals: rivals(peers) })
  const result = { ...judged, failures: [...judged.failures, ...broken] }
  console.log(`\n${name}: ${((Date.now() - started) / 1000).toFixed(1)} s\n${[formatText([result]), ...result.failures].join('\n')}`)
  return result
}

async function main() {
  const options = readOptions()
  if (options === null) return console.log(HELP)
  if (!options.asBuilt) await build()
  await setUp(['browser'])
  if (options.write || options.peers.some(({ library }) => library)) await installPeers()
  await bundlePeers(options.peers, { readable: options.profile })
  const results = await withPages(async (pageOf) => {
    const judged = []
    for (const name of options.names) judged.push(await runWorkload(name, options, pageOf))
    return judged
  })
  if (options.names.length > 1) console.log(`\n${formatText(results)}\n`)
  if (options.write) {
    const facts = { quick: options.quick, browser: await readVersion(), versions: await readVersions(PEERS), build: await readBuild() }
    await writeResults(results, { facts, order: WORKLOADS, merge: options.merge })
  }
  const failures = results.flatMap((result) => result.failures)
  for (const failure of failures) console.error(`bench: ${failure}`)
  if (failures.length > 0) process.exitCode = 1
}

await runMain(main)
