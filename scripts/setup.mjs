#!/usr/bin/env node
// Installs what the project needs and this machine lacks, one line per step; a second run only looks. The other scripts call
// `setUp` first, so nobody has to run this by hand. Where things are is `support/environment.mjs`.
//
//   node scripts/setup.mjs [rust] [wasm] [browser] [sqlite] [postgres] [packages]     no name: everything

import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { installDebianPackages } from './support/debian.mjs'
import { ROOT, canInstallDebianPackages, cargoEnv, chromePath, debianRelease, findProgram, npm } from './support/environment.mjs'
import { postgresPrograms } from './support/postgres.mjs'
import { SetupError, capture, isMain, progress, run, runMain } from './support/process.mjs'
import { provideLinker, provideRust, provideWasmBindgen, provideWasmPack, provideWasmStd } from './support/rust.mjs'

export { cargoEnv, chromePath, serverBinary, targetDirectory, wasmEnv } from './support/environment.mjs'
export { run } from './support/process.mjs'

const HELP = `Usage: node scripts/setup.mjs [part...]

Installs what is missing, one line per step. Parts (default: all):
  rust      a Rust compiler and a C linker
  wasm      Rust's standard library for wasm, wasm-bindgen, wasm-pack
  browser   Chromium and chromedriver
  sqlite    something that reads the server's SQLite file, for the tests
  postgres  PostgreSQL, for the tests of the server
  packages  node_modules

Environment: CHROME_PATH names the browser to use.`

const PARTS = {
  rust: [['rust', provideRust], ['C linker', provideLinker]],
  wasm: [['wasm std', provideWasmStd], ['wasm-bindgen', provideWasmBindgen], ['wasm-pack', provideWasmPack]],
  browser: [['chromium', provideChromium], ['chromedriver', provideChromedriver]],
  sqlite: [['SQLite reader', provideSqliteReader]],
  postgres: [['PostgreSQL', providePostgres]],
  packages: [['node_modules', providePackages]],
}

/** What this process looked at already: one script may call several that set up. */
const done = new Set()

/**
 * Sets up the named parts, in the order that they need each other.
 *
 * @param {readonly (keyof typeof PARTS)[]} [names]
 */
export async function setUp(names = Object.keys(PARTS)) {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) throw new SetupError(`Node ${process.versions.node} is too old.`, 'Install Node 20.19 or newer: https://nodejs.org')
  for (const [part, steps] of Object.entries(PARTS)) {
    if (!names.includes(part) || done.has(part)) continue
    for (const [name, provide] of steps) console.log(`${name}: ${await provide()}`)
    done.add(part)
  }
}


async function provideChromium() {
  if (chromePath() !== null) return `present (${chromePath()})`
  if (process.env.CHROME_PATH) throw new SetupError(`CHROME_PATH is ${process.env.CHROME_PATH}, which is not a program.`, 'Let it name Chrome or Chromium, or unset it.')
  if (!canInstallDebianPackages()) {
    const how = debianRelease() ? 'Run: sudo apt-get install -y chromium chromium-driver' : 'Install Google Chrome (https://www.google.com/chrome) or Chromium, or let CHROME_PATH name it.'
    throw new SetupError('There is no Chrome or Chromium.', how)
  }
  await progress('installing chromium and chromedriver', () => installDebianPackages(['chromium', 'chromium-driver']))
  return `installed (${chromePath()})`
}

async function provideChromedriver() {
  if (findProgram('chromedriver') !== null) return 'present'
  if (!canInstallDebianPackages()) return 'absent; wasm-pack will download one'
  await progress('installing chromedriver', () => installDebianPackages(['chromium-driver']))
  return 'installed'
}

/** Any of what `tests/e2e/sql.mjs` can use. */
async function provideSqliteReader() {
  if (await import('node:sqlite').then(() => true, () => false)) return 'present (node:sqlite)'
  const python = findProgram('python3') ?? findProgram('python')
  if (python !== null && await capture(python, ['-c', 'import sqlite3']) !== null) return `present (${python})`
  if (findProgram('sqlite3') !== null) return 'present (sqlite3)'
  if (!canInstallDebianPackages()) throw new SetupError('Nothing here reads an SQLite file.', 'Install Python 3, the sqlite3 program, or Node 22.13 or newer.')
  await progress('installing sqlite3', () => installDebianPackages(['sqlite3']))
  return 'installed'
}

async function providePostgres() {
  if (postgresPrograms() !== null) return `present (${postgresPrograms()})`
  if (!canInstallDebianPackages()) {
    const how = debianRelease() ? 'Run: sudo apt-get install -y postgresql' : 'Install PostgreSQL 14 or newer, with initdb and postgres on PATH: https://www.postgresql.org/download/'
    throw new SetupError('There is no PostgreSQL, which the tests of the server need.', how)
  }
  await progress('installing postgresql', () => installDebianPackages(['postgresql']))
  return `installed (${postgresPrograms()})`
}

/** `npm ci` when the lock file is not the one that node_modules was made from. */
async function providePackages() {
  const lock = await readFile(join(ROOT, 'package-lock.json'))
  const hash = createHash('sha256').update(lock).digest('hex')
  const stamp = join(ROOT, 'node_modules/.homing-lock')
  if (await readFile(stamp, 'utf8').catch(() => '') === hash) return 'present'
  const [command, ...first] = npm()
  // What builds and tests is a development dependency: npm leaves those out where NODE_ENV is "production".
  await progress('installing node_modules', () => run(command, [...first, 'ci', '--include=dev', '--no-audit', '--no-fund'], { cwd: ROOT, env: cargoEnv(), quiet: true }))
  await mkdir(join(ROOT, 'node_modules'), { recursive: true })
  await writeFile(stamp, hash)
  return 'installed'
}

async function main() {
  const names = process.argv.slice(2)
  if (names.includes('--help')) return console.log(HELP)
  const unknown = names.find((name) => !(name in PARTS))
  if (unknown !== undefined) throw new SetupError(`There is no part "${unknown}".`, HELP)
  await setUp(names.length === 0 ? undefined : names)
}

if (isMain(import.meta)) await runMain(main)
