#!/usr/bin/env node
// `npm test`: sets up what is missing, then runs every suite and says what passed. The suites are `support/suites.mjs`.
//
//   npm test [-- --only native,browser]

import { parseArgs } from 'node:util'
import { build, buildServer } from './build.mjs'
import { setUp } from './setup.mjs'
import { CommandError, SetupError, isMain, runMain } from './support/process.mjs'
import { SUITES, runCommand } from './support/suites.mjs'

const NAMES = SUITES.map(({ name }) => name)
const HELP = `Usage: npm test [-- --only NAME,NAME]

Sets up what is missing and runs the test suites: ${NAMES.join(', ')}.
Ends with the line "N passed, N failed"; fails when something failed.
Environment: HOMING_FARM names the farm document to test with, CHROME_PATH the browser, PROPTEST_RNG_SEED the cases of
property tests (1 unless told otherwise), HISTORIES and SEED those of the simulation.`

const builders = { package: once(build), server: once(buildServer) }

/** A suite without files or whose build broke has one failure: nothing is hidden. */
async function runSuite({ name, needs = [], files, commands }) {
  if (files !== undefined && files().length === 0) {
    console.log(`missing: ${name}`)
    return { passed: 0, failed: 1, note: 'missing' }
  }
  try {
    for (const need of needs) await builders[need]()
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    console.error(`${error.output}\n${error.message}`)
    return { passed: 0, failed: 1, note: 'not built' }
  }
  const sum = { passed: 0, failed: 0 }
  for (const command of await commands()) {
    const { passed, failed } = await runCommand(command)
    sum.passed += passed
    sum.failed += failed
  }
  return sum
}

/** Builds at most once per run, and remembers a failure too. */
function once(work) {
  let result
  return () => (result ??= work())
}

async function main() {
  const { values } = parseArgs({ options: { only: { type: 'string' }, help: { type: 'boolean' } } })
  if (values.help) return console.log(HELP)
  const chosen = values.only?.split(',') ?? SUITES.filter(({ part = false }) => !part).map(({ name }) => name)
  const unknown = chosen.find((name) => !NAMES.includes(name))
  if (unknown !== undefined) throw new SetupError(`There is no suite "${unknown}".`, `There are: ${NAMES.join(', ')}`)

  await setUp()
  // Property tests draw the same cases in every run, so that a failure is one of the change; another seed explores.
  process.env.PROPTEST_RNG_SEED ??= '1'
  console.log(`property tests: PROPTEST_RNG_SEED=${process.env.PROPTEST_RNG_SEED}`)
  const rows = []
  for (const suite of SUITES.filter(({ name }) => chosen.includes(name))) {
    console.log(`\n=== ${suite.name}`)
    const start = performance.now()
    const result = await runSuite(suite)
    const seconds = (performance.now() - start) / 1000
    console.log(`=== ${suite.name}: ${seconds.toFixed(1)} s`)
    rows.push({ name: suite.name, seconds, ...result })
  }

  const total = (field) => rows.reduce((sum, row) => sum + row[field], 0)
  console.log('\nsuite      passed  failed   seconds')
  for (const { name, passed, failed, seconds, note = '' } of rows) {
    console.log(`${name.padEnd(9)}${String(passed).padStart(8)}${String(failed).padStart(8)}${seconds.toFixed(1).padStart(10)}  ${note}`.trimEnd())
  }
  console.log(`${'all'.padEnd(9)}${String(total('passed')).padStart(8)}${String(total('failed')).padStart(8)}${total('seconds').toFixed(1).padStart(10)}`)
  console.log(`\n${total('passed')} passed, ${total('failed')} failed`)
  if (total('failed') > 0) process.exitCode = 1
}

if (isMain(import.meta)) await runMain(main)
