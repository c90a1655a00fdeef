// The test suites: what each runs, what it needs built, which files it consists of. `test.mjs` runs them.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, WASM_TARGET, cargoEnv, wasmEnv } from './environment.mjs'
import { run } from './process.mjs'

/**
 * A suite: `commands` resolves to what it runs, in order; `needs` must be built before; `files` are what it consists of, and the
 * suite counts as failed when there are none. `part`: its tests are in other suites, too; it runs where it is asked for.
 *
 * @typedef {{ name: string, part?: boolean, needs?: readonly ('package' | 'server')[], files?: () => readonly string[], commands: () => Promise<readonly Command[]> }} Suite
 * @typedef {{ command: string, args: readonly string[], env?: NodeJS.ProcessEnv, counts?: boolean }} Command `counts`: it prints how many tests it ran
 */

/** The server's tests that speak HTTP; they need no particular database. */
const BY_HTTP = ['sync', 'refusals', 'security', 'golden', 'process', 'claims', 'hostile'].flatMap((name) => ['--test', name])

/** The longest seen is a first build beside other work, 11 minutes. A command that hangs shall not cost the results of the others. */
const MOST_MS = 20 * 60_000

/** Tests of the shell that run once more with every database in a worker. */
const IN_WORKER = ['collections', 'documents', 'queue', 'conflicts', 'sync', 'typed', 'lazy', 'shown', 'local-fields'].map((name) => `tests/js/${name}.test.mjs`)

/** @type {readonly Suite[]} */
export const SUITES = [
  {
    name: 'lint',
    commands: async () => [
      cargo(['fmt', '--all', '--check']),
      cargo(['clippy', '--workspace', '--all-targets', '--', '-D', 'warnings']),
      { command: 'cargo', args: ['clippy', '--target', WASM_TARGET, '-p', 'homing', '--lib', '--', '-D', 'warnings'], env: await wasmEnv() },
      { command: 'cargo', args: ['clippy', '--target', WASM_TARGET, '-p', 'homing', '--lib', '--features', 'authority', '--', '-D', 'warnings'], env: await wasmEnv() },
    ],
  },
  { name: 'native', commands: async () => [{ ...cargo(['test', '--workspace', '--exclude', 'homing-server']), counts: true }] },
  {
    name: 'server',
    needs: ['server'],
    commands: async () => [
      onPostgres(serverTests()),
      onPostgres(serverTests(...BY_HTTP), { HOMING_TEST_STORE: 'postgres' }),
      onPostgres(nodeTest(filesIn('tests/conformance', '.test.mjs'))),
    ],
  },
  { name: 'browser', files: browserTests, commands: () => browserCommands(browserTests()) },
  { name: 'types', needs: ['package'], files: () => filesIn('src/js', '.ts'), commands: async () => [node(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit'])] },
  nodeSuite('js', 'tests/js', ['package', 'server']),
  {
    name: 'worker',
    needs: ['package', 'server'],
    files: () => IN_WORKER,
    commands: async () => [{ ...nodeTest(IN_WORKER), env: { ...cargoEnv(), HOMING_WORKER: '1' } }],
  },
  nodeSuite('e2e', 'tests/e2e', ['package', 'server']),
  nodeSuite('faults', 'tests/faults', ['package', 'server']),
  nodeSuite('package', 'tests/package', ['package']),
  nodeSuite('scripts', 'tests/scripts', ['server']),
  {
    name: 'merge',
    part: true,
    commands: async () => [
      { ...cargo(['test', '--lib', '--', '--show-output', 'core::merge', 'core::patch']), counts: true },
      { ...cargo(['test', '--test', 'merge', '--', '--show-output']), counts: true },
      ...await browserCommands(['--test', 'browser_vectors']),
    ],
  },
  { name: 'readme', needs: ['package'], files: () => ['tests/readme.test.mjs'].filter((path) => existsSync(join(ROOT, path))), commands: async () => [nodeTest(['tests/readme.test.mjs'])] },
]

/**
 * Runs one command, showing its output, and resolves to how many tests passed and failed. A command that does not count its
 * tests is one test; one that counts and ran none has failed.
 *
 * @param {Command} command
 */
export async function runCommand({ command, args, env = cargoEnv(), counts = false }) {
  console.log(`\n> ${[command === process.execPath ? 'node' : command, ...args].join(' ')}`)
  const colour = process.stdout.isTTY ? { CARGO_TERM_COLOR: 'always', FORCE_COLOR: '1' } : {}
  const { code, stdout, stderr } = await run(command, args, { cwd: ROOT, env: { ...env, ...colour }, echo: true, timeout: MOST_MS, allowFailure: true })
  if (!counts) return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
  const { passed, failed } = countTests(stdout + stderr)
  return { passed, failed: code === 0 && passed > 0 ? failed : Math.max(failed, 1) }
}

/** Adds up the summaries of cargo test, wasm-pack test and node --test. */
export function countTests(output) {
  const text = output.replace(/\u001b\[[0-9;]*m/g, '')
  let passed = 0
  let failed = 0
  for (const [, ok, bad] of text.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    passed += Number(ok)
    failed += Number(bad)
  }
  // node counts a cancelled test apart; it did not pass. `skipped` and `todo` are neither.
  for (const [, kind, count] of text.matchAll(/^(?:ℹ|#) (pass|fail|cancelled) (\d+)$/gm)) {
    if (kind === 'pass') passed += Number(count)
    else failed += Number(count)
  }
  return { passed, failed }
}

/** The store's contract runs on both databases, what goes by HTTP on the one that is named. */
function serverTests(...args) {
  return { ...cargo(['test', '-p', 'homing-server', ...args]), counts: true }
}

/** A command with a PostgreSQL to itself. */
function onPostgres({ command, args, ...rest }, env = {}) {
  return { ...node(['scripts/postgres.mjs', '--', command, ...args]), ...rest, env: { ...cargoEnv(), ...env } }
}

function cargo(args) {
  return { command: 'cargo', args }
}

function node(args) {
  return { command: process.execPath, args }
}

/** One file at a time: every one starts a browser, and the machine may have two cores. */
function nodeTest(files) {
  return { ...node(['--test', '--test-reporter=spec', '--test-concurrency=1', ...files]), counts: true }
}

function nodeSuite(name, folder, needs) {
  const files = () => filesIn(folder, '.test.mjs')
  return { name, needs, files, commands: async () => [nodeTest(files())] }
}

/** `tests/browser_*.rs`, and the library when it has browser tests of its own. */
function browserTests() {
  const targets = filesIn('tests', '.rs').filter((path) => path.startsWith('tests/browser_')).map((path) => ['--test', path.slice('tests/'.length, -'.rs'.length)])
  const inLibrary = filesIn('src', '.rs').some((path) => /#\[wasm_bindgen_test/.test(readFileSync(join(ROOT, path), 'utf8')))
  return [...targets.flat(), ...(inLibrary ? ['--lib'] : [])]
}

async function browserCommands(targets) {
  const env = { WASM_BINDGEN_TEST_TIMEOUT: '300', ...await wasmEnv() } // seconds; the runner's default of 20 is for small suites
  return [{ command: 'wasm-pack', args: ['test', '--headless', '--chrome', '.', ...targets], env, counts: true }]
}

function filesIn(folder, ending) {
  const path = join(ROOT, folder)
  if (!existsSync(path)) return []
  return readdirSync(path, { recursive: true }).filter((name) => name.endsWith(ending)).sort().map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
}
