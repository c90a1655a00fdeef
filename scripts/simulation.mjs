#!/usr/bin/env node
// Runs the seeded simulation (`tests/simulation/`), or breaks the product line by line and sees it caught.
//
//   npm run test:simulation [-- --mutants[=NAME,NAME] | -- --rules]

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setUp } from './setup.mjs'
import { ROOT, cargoEnv } from './support/environment.mjs'
import { NAMED, RULES } from './support/mutants.mjs'
import { SetupError, isMain, run, runMain } from './support/process.mjs'

const HELP = `Usage: npm run test:simulation [-- --mutants | --rules] [--only NAME,NAME]

Runs histories of 3 to 5 devices with every fault there is, and prints how many of each; fails when a promise of DESIGN 10 is broken.
  --mutants   breaks the ${NAMED.length} lines that the queue and the protocol rest on, one at a time in a copy, and prints the seed that caught each
  --rules     the same for the rules of the design (${RULES.length} more)
  --only      only those whose name begins so
Environment: HISTORIES (5000), FIRST (0); SEED runs one history and prints every step.`

const TEST = ['test', '--quiet', '--test', 'simulation', '--', '--nocapture']
/** What the copy needs to compile the test. */
const PARTS = ['Cargo.toml', 'Cargo.lock', 'src', 'server', 'tests/simulation']

async function mutants(list) {
  const copy = join(ROOT, 'build/mutants')
  await rm(copy, { recursive: true, force: true })
  await mkdir(join(copy, 'tests'), { recursive: true })
  for (const part of PARTS) await cp(join(ROOT, part), join(copy, part), { recursive: true })
  const env = { ...cargoEnv(), CARGO_TARGET_DIR: join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'mutants'), UNTIL_FAILURE: '1', RUSTFLAGS: '-Awarnings', HISTORIES: process.env.HISTORIES ?? '5000' }
  let survived = 0
  for (const { name, file, find, replace } of list) {
    const path = join(copy, file)
    const text = await readFile(path, 'utf8')
    if (text.split(find).length !== 2) throw new SetupError(`The mutant "${name}" is out of date.`, `${file} has its line ${text.split(find).length - 1} times; it must be there once.`)
    await writeFile(path, text.replace(find, () => replace))
    const { code, stdout, stderr } = await run('cargo', TEST, { cwd: copy, env, quiet: true, allowFailure: true })
    await writeFile(path, text)
    const caught = /^SEED=(\d+): (.*)$/m.exec(stdout)
    if (code !== 0 && caught === null) throw new SetupError(`The mutant "${name}" does not compile.`, stderr.split('\n').slice(0, 12).join('\n'))
    if (caught === null) survived++
    console.log(caught === null ? `SURVIVED  ${name}` : `caught    ${name}: seed ${caught[1]}, ${caught[2].slice(0, 100)}`)
  }
  console.log(`${list.length - survived} of ${list.length} caught`)
  if (survived > 0) process.exitCode = 1
}

async function main() {
  const { values } = parseArgs({ options: { mutants: { type: 'boolean' }, rules: { type: 'boolean' }, only: { type: 'string' }, help: { type: 'boolean' } } })
  if (values.help) return console.log(HELP)
  await setUp(['rust'])
  const chosen = ({ name }) => values.only === undefined || values.only.split(',').some((start) => name.startsWith(start))
  const list = [...(values.mutants ? NAMED : []), ...(values.rules ? RULES : [])].filter(chosen)
  if (values.mutants || values.rules) return mutants(list)
  const { code } = await run('cargo', TEST, { cwd: ROOT, env: cargoEnv(), allowFailure: true })
  process.exitCode = code === 0 ? 0 : 1
}

if (isMain(import.meta)) await runMain(main)
