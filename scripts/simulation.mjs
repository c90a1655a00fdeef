#!/usr/bin/env node
// Runs the seeded simulation (`tests/simulation/`), or breaks the product line by line and sees it caught.
//
//   npm run test:simulation [-- [--mutants | --rules] [--only NAME,NAME]]

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setUp } from './setup.mjs'
import { ROOT, cargoEnv, wasmEnv } from './support/environment.mjs'
import { SERVER } from './support/mutants-server.mjs'
import { MERGE, NAMED, RULES, STORAGE } from './support/mutants.mjs'
import { startPostgres } from './support/postgres.mjs'
import { SetupError, isMain, run, runMain } from './support/process.mjs'

const HELP = `Usage: npm run test:simulation [-- --mutants | --rules] [--only NAME,NAME]

Runs histories of 3 to 5 devices with every fault there is, and prints how many of each; fails when a promise of DESIGN 10 is broken.
  --mutants   breaks the ${NAMED.length} lines that the queue and the protocol rest on, one at a time in a copy, and prints the seed that caught each
  --rules     the same for the rules of the design (${RULES.length + STORAGE.length + MERGE.length + SERVER.length} more), each caught by a seed or by a test that is named
  --only      only those whose name begins so
Environment: HISTORIES (5000), FIRST (0); SEED runs one history and prints every step.`

const TEST = ['test', '--quiet', '--test', 'simulation', '--', '--nocapture']
/** What the copy needs to compile the test. */
const PARTS = ['Cargo.toml', 'Cargo.lock', 'src', 'server', 'tests']

/** Runs what must notice a mutant, in the copy as it is. `failed`: the tests that did, where their runner names them; `null` where it does not. */
async function attempt(by, copy, env) {
  const script = by?.endsWith('.mjs')
  const [program, args] = script ? ['node', ['--test', '--test-force-exit', '--test-reporter=tap', by]] : command(by)
  const { code, stdout, stderr } = await run(program, args, { cwd: copy, env: program === 'wasm-pack' ? { ...await wasmEnv(), ...env } : env, quiet: true, allowFailure: true, ...(script && { timeout: 60_000 }) })
  // A file that cannot be loaded is told as one test that failed.
  const ran = script ? /^ +---$/m.test(stdout) && !/^not ok \d+ - \S+\.mjs$/m.test(stdout) : /^running [1-9]/m.test(stdout)
  const named = script ? /^ *not ok \d+ - (.*)$/gm : program === 'wasm-pack' ? /^test (\S+).* FAIL/gm : /^ {4}(\S+)$/gm
  const failures = script || program === 'wasm-pack' ? stdout : stdout.slice(stdout.lastIndexOf('\nfailures:\n') + 1 || stdout.length)
  // Who is ended by a signal (a stack that overflows) comes to no list.
  const killed = /\(signal: \d+/.test(stderr)
  return { ran, passed: code === 0, stdout, said: stderr || stdout, failed: killed ? null : [...failures.matchAll(named)].map(([, name]) => name) }
}

/** What each `by` says of the unbroken copy: a test that fails anyway catches nothing. */
const unbroken = new Map()

async function requirePassing(by, copy, env) {
  if (!unbroken.has(by)) unbroken.set(by, await attempt(by, copy, env))
  const { ran, passed, said } = unbroken.get(by)
  if (!ran || !passed) throw new SetupError(`Without any mutant ${by ?? 'the simulation'} ${ran ? 'fails' : 'does not run'}.`, said.split('\n').slice(-12).join('\n'))
}

/** Breaks one line in the copy, runs what must notice, and says by what it was caught; `null` when by nothing. */
async function caughtBy({ name, file, find, replace, by }, copy, env) {
  await requirePassing(by, copy, env)
  const path = join(copy, file)
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace(find, () => replace))
  const { ran, passed, stdout, said, failed } = await attempt(by, copy, env)
  await writeFile(path, text)
  if (!ran) throw new SetupError(`The mutant "${name}" does not compile, or its test is gone.`, said.split('\n').slice(0, 12).join('\n'))
  if (passed) return null
  const [, seed, what] = /^SEED=(\d+): (.*)$/m.exec(stdout) ?? []
  if (by === undefined) return seed === undefined ? null : `seed ${seed}, ${what.slice(0, 100)}`
  const test = filter(by)
  return failed === null || failed.some((one) => one.includes(test)) ? by : null
}

/** The part of a test's name that `by` has; empty where it names a whole file or library. */
function filter(by) {
  const words = by.split(' ')
  const last = words.at(-1)
  return by.endsWith('.mjs') || last.startsWith('-') || ['--test', '-p'].includes(words.at(-2)) || words[0] === '--browser' && words.length < 3 ? '' : last
}

function command(by) {
  const [first, ...rest] = by?.split(' ') ?? []
  // The whole file: wasm-pack hands what follows to `cargo build`, too, which knows no names of tests.
  if (first === '--browser') return ['wasm-pack', ['test', '--headless', '--chrome', '.', '--test', ...rest.slice(0, 1)]]
  return ['cargo', by === undefined ? TEST : ['test', '--quiet', first, ...rest]]
}

async function mutants(list, more) {
  const copy = join(ROOT, 'build/mutants')
  await rm(copy, { recursive: true, force: true })
  await mkdir(join(copy, 'tests'), { recursive: true })
  for (const part of PARTS) await cp(join(ROOT, part), join(copy, part), { recursive: true })
  for (const { name, file, find } of list) {
    const times = (await readFile(join(copy, file), 'utf8')).split(find).length - 1
    if (times !== 1) throw new SetupError(`The mutant "${name}" is out of date.`, `${file} has its line ${times} times; it must be there once.`)
  }
  const env = { ...cargoEnv(), ...more, CARGO_TARGET_DIR: join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'mutants'), UNTIL_FAILURE: '1', RUSTFLAGS: '-Awarnings', HISTORIES: process.env.HISTORIES ?? '5000' }
  const start = performance.now()
  let survived = 0
  for (const mutant of list) {
    const by = await caughtBy(mutant, copy, env)
    if (by === null) survived++
    console.log(by === null ? `SURVIVED  ${mutant.name}` : `caught    ${mutant.name}: ${by}`)
  }
  console.log(`${list.length - survived} of ${list.length} caught, ${((performance.now() - start) / 1000).toFixed(0)} s`)
  if (survived > 0) process.exitCode = 1
}

async function main() {
  const { values } = parseArgs({ options: { mutants: { type: 'boolean' }, rules: { type: 'boolean' }, only: { type: 'string' }, help: { type: 'boolean' } } })
  if (values.help) return console.log(HELP)
  const chosen = ({ name }) => values.only === undefined || values.only.split(',').some((start) => name.startsWith(start))
  const list = [...(values.mutants ? NAMED : []), ...(values.rules ? [...RULES, ...STORAGE, ...MERGE, ...SERVER] : [])].filter(chosen)
  if ((values.mutants || values.rules) && list.length === 0) throw new SetupError(`Nothing begins with "${values.only}".`, 'The names are in scripts/support/mutants.mjs and mutants-server.mjs; those of --rules are others than those of --mutants.')
  const asked = list.some(({ postgres }) => postgres)
  await setUp(asked ? ['rust', 'postgres'] : ['rust'])
  if (values.mutants || values.rules) {
    const postgres = asked ? await startPostgres() : null
    try {
      return await mutants(list, postgres === null ? {} : { HOMING_TEST_POSTGRES: postgres.url })
    } finally {
      await postgres?.stop()
    }
  }
  const { code } = await run('cargo', TEST, { cwd: ROOT, env: cargoEnv(), allowFailure: true })
  process.exitCode = code === 0 ? 0 : 1
}

if (isMain(import.meta)) await runMain(main)
