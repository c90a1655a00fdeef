#!/usr/bin/env node
// `npm run server`: builds the reference server and runs it with defaults for development. What it can do is its own `--help`.
//
//   npm run server [-- options of `homing-server serve`]
//   npm run server -- token --scope farm-1

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildServer } from './build.mjs'
import { ROOT, serverBinary } from './support/environment.mjs'
import { passSignals } from './support/ending.mjs'
import { isMain, runMain } from './support/process.mjs'

const FOLDER = join(ROOT, '.cache/server')

/** A flag that the server also takes from a variable has no default where that is set: arguments come first. */
const VARIABLES = { '--database': 'HOMING_DATABASE' }

/** The arguments of `homing-server` for those that were given to this script. */
export function commandLine(given, env = process.env) {
  const command = given[0] === undefined || given[0].startsWith('--') && given[0] !== '--help' ? ['serve', ...given] : given
  if (command[0] !== 'serve' || command.includes('--help')) return command
  const defaults = { '--listen': '127.0.0.1:8787', '--database': `sqlite:${join(FOLDER, 'homing.sqlite')}`, '--schema': 'src/schemas/egglogu.schema.json' }
  const said = (flag) => command.some((arg) => arg === flag || arg.startsWith(`${flag}=`)) || (env[VARIABLES[flag]] ?? '') !== ''
  return [...command, ...Object.entries(defaults).filter(([flag]) => !said(flag)).flat()]
}

async function main() {
  const args = commandLine(process.argv.slice(2))
  await buildServer()
  await mkdir(FOLDER, { recursive: true })
  const child = spawn(serverBinary(), args, { cwd: ROOT, stdio: 'inherit', env: { HOMING_JWT_SECRET: await developmentSecret(), ...process.env } })
  passSignals(child)
}

/** Kept between runs, so that a token minted once stays valid on this machine. Not for production. */
async function developmentSecret() {
  const file = join(FOLDER, 'jwt-secret')
  try {
    return await readFile(file, 'utf8')
  } catch {
    const secret = randomBytes(32).toString('hex')
    await writeFile(file, secret, { mode: 0o600 })
    return secret
  }
}

if (isMain(import.meta)) await runMain(main)
