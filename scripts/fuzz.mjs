#!/usr/bin/env node
// `npm run fuzz:decoder`: libFuzzer looks for request bodies that break the server's decoder or its judgement (`server/fuzz/push.rs`).
// It needs a nightly compiler and cargo-fuzz; installing them is yours. What `npm test` does of the same kind is `server/tests/hostile.rs`.

import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ROOT, cargoEnv, findProgram } from './support/environment.mjs'
import { SetupError, isMain, run, runMain } from './support/process.mjs'

const HELP = `Usage: npm run fuzz:decoder [-- --minutes NUMBER]

Begins with the golden requests and what was found before (server/fuzz/seeds). A body that breaks something is written to
server/fuzz/artifacts; it belongs into the seeds, which server/tests/hostile.rs reads.
Needs: rustup toolchain install nightly; cargo install cargo-fuzz.`

const FUZZ = join(ROOT, 'server/fuzz')
const SEEDS = join(FUZZ, 'seeds')
const CORPUS = join(FUZZ, 'corpus/push')

async function main() {
  const { values } = parseArgs({ options: { minutes: { type: 'string', default: '5' }, help: { type: 'boolean' } } })
  if (values.help) return console.log(HELP)
  if (findProgram('cargo-fuzz') === null) throw new SetupError('There is no cargo-fuzz.', 'Run: rustup toolchain install nightly && cargo install cargo-fuzz')
  await mkdir(CORPUS, { recursive: true })
  await writeGolden()
  for (const seed of await readdir(SEEDS)) await copyFile(join(SEEDS, seed), join(CORPUS, seed))
  // No sanitizer: what is looked for are panics, and there is no unsafe code of ours.
  const args = ['+nightly', 'fuzz', 'run', '--sanitizer', 'none', 'push', '--']
  const options = [`-max_total_time=${Number(values.minutes) * 60}`, '-max_len=8192', '-timeout=10', `-dict=${join(FUZZ, 'push.dict')}`, '-print_final_stats=1']
  const { code } = await run('cargo', [...args, ...options], { cwd: join(ROOT, 'server'), env: cargoEnv(), allowFailure: true })
  process.exitCode = code === 0 ? 0 : 1
}

/** The requests of the golden vectors, one file each. */
async function writeGolden() {
  const folder = join(ROOT, 'tests/fixtures/wire')
  for (const name of await readdir(folder)) {
    const { steps } = JSON.parse(await readFile(join(folder, name), 'utf8'))
    for (const [at, { request }] of steps.entries()) await writeFile(join(CORPUS, `golden-${name}-${at}`), JSON.stringify(request))
  }
}

if (isMain(import.meta)) await runMain(main)
