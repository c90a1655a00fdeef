#!/usr/bin/env node
// Runs a command beside a PostgreSQL of its own. The PostgreSQL is `support/postgres.mjs`.
//
//   node scripts/postgres.mjs -- cargo test -p homing-server

import { setUp } from './setup.mjs'
import { SetupError, isMain, run, runMain } from './support/process.mjs'
import { cargoEnv } from './support/environment.mjs'
import { startPostgres } from './support/postgres.mjs'

const HELP = `Usage: node scripts/postgres.mjs [--durable] -- COMMAND [argument...]

Starts PostgreSQL with an empty database on a free port, runs the command with HOMING_TEST_POSTGRES naming it, stops it again.
Installs PostgreSQL where it is missing and that is possible. --durable: it waits for the disk as in production, for measurements.`

async function main() {
  const [, ...words] = process.argv.slice(process.argv.indexOf('--'))
  const durable = process.argv[2] === '--durable'
  const [command, ...args] = process.argv.includes('--') ? words : []
  if (command === undefined && process.argv.includes('--help')) return console.log(HELP)
  if (command === undefined) throw new SetupError('There is no command to run.', HELP)
  await setUp(['postgres'])
  const postgres = await startPostgres({ durable })
  try {
    const { code } = await run(command, args, { env: { ...cargoEnv(), HOMING_TEST_POSTGRES: postgres.url }, whole: true, allowFailure: true })
    process.exitCode = typeof code === 'number' ? code : 1
  } finally {
    await postgres.stop()
  }
}

if (isMain(import.meta)) await runMain(main)
