#!/usr/bin/env node
// `npm run fuzz:server`: schemathesis asks a server what its OpenAPI description allows, and what it does not. Installing it is
// yours: `pip install schemathesis`. What `npm test` asks of the same kind is `server/tests/hostile.rs`.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildServer } from './build.mjs'
import { findProgram } from './support/environment.mjs'
import { startPostgres } from './support/postgres.mjs'
import { SetupError, isMain, runMain } from './support/process.mjs'
import { startServer } from './support/reference-server.mjs'

const HELP = `Usage: npm run fuzz:server [-- --postgres] [-- --examples NUMBER] [-- --seed NUMBER]

Runs schemathesis against the reference server on SQLite, or on a PostgreSQL started for it (or HOMING_TEST_POSTGRES):
no failure of the server, no answer that is not described. SCHEMATHESIS names the program where it is not on the PATH.`

async function main() {
  const { values } = parseArgs({ options: { postgres: { type: 'boolean' }, examples: { type: 'string', default: '300' }, seed: { type: 'string', default: '1' }, help: { type: 'boolean' } } })
  if (values.help) return console.log(HELP)
  const program = process.env.SCHEMATHESIS ?? findProgram('schemathesis')
  if (program === null) throw new SetupError('There is no schemathesis.', 'Run: pip install schemathesis')
  await buildServer()
  const postgres = values.postgres && process.env.HOMING_TEST_POSTGRES === undefined ? await startPostgres() : null
  const database = postgres?.url ?? process.env.HOMING_TEST_POSTGRES
  const server = await startServer({ schema: 'src/schemas/egglogu.schema.json', database, args: ['--rate', '0'] })
  const folder = await mkdtemp(join(tmpdir(), 'homing-schemathesis-')) // it leaves a cache where it runs
  try {
    const checks = 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,ignored_auth'
    const args = ['run', `${server.url}/openapi.json`, '--checks', checks, '--max-examples', values.examples, '--seed', values.seed, '--generation-database', 'none', '-H', `Authorization: Bearer ${await server.token('fuzz')}`]
    const child = spawn(program, args, { cwd: folder, stdio: 'inherit' })
    process.exitCode = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  } finally {
    await server.stop()
    await postgres?.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

if (isMain(import.meta)) await runMain(main)
