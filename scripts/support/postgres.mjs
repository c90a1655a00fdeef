// A PostgreSQL of our own for tests: a new cluster in a temporary folder, on a free port of 127.0.0.1, gone when stopped.
// Installing PostgreSQL is `setup.mjs`.

import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import { removeNow, untilExit } from './ending.mjs'
import { SetupError, capture, stop } from './process.mjs'
import { findProgram } from './environment.mjs'

/** The folder of `initdb` and `postgres`, the newest version there is, or `null`. */
export function postgresPrograms() {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  for (const folder of versions.map((version) => join(debian, version, 'bin'))) {
    if (existsSync(join(folder, 'initdb'))) return folder
  }
  const initdb = findProgram('initdb')
  return initdb === null ? null : join(initdb, '..')
}

/**
 * Starts PostgreSQL and resolves when it answers: `{ url, stop() }`. What is in it is gone after a crash of the machine: tests
 * ask for speed, and for what survives the crash of a client. `durable`: it writes as in production, for measurements.
 */
export async function startPostgres({ durable = false } = {}) {
  const programs = postgresPrograms()
  if (programs === null) throw new SetupError('There is no PostgreSQL.', 'Run: node scripts/setup.mjs postgres')
  const folder = await mkdtemp(join(tmpdir(), 'homing-postgres-'))
  const owner = await otherUser() // PostgreSQL does not run as root
  if (owner !== null) await chown(folder, owner.uid, owner.gid)
  const data = join(folder, 'data')
  const options = { cwd: folder, ...owner }
  await execute(join(programs, 'initdb'), ['--no-sync', '--auth', 'trust', '--username', 'homing', '--encoding', 'UTF8', '--locale', 'C', '-D', data], options)
  const port = await freePort()
  // As somebody who measures production sets it up: memory for what is in use, and room for the log between checkpoints.
  const speed = durable ? ['shared_buffers=1GB', 'max_wal_size=4GB', 'min_wal_size=1GB'] : ['fsync=off', 'full_page_writes=off']
  const settings = [...speed, 'max_connections=200', 'listen_addresses=127.0.0.1', `port=${port}`, `unix_socket_directories=${folder}`]
  const child = spawn(join(programs, 'postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], { ...options, stdio: ['ignore', 'ignore', 'pipe'] })
  const forget = untilExit(() => {
    child.kill('SIGQUIT')
    removeNow(folder, join(data, 'postmaster.pid'))
  })
  let said = ''
  await new Promise((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-4000)
      if (text.includes('ready to accept connections')) resolve()
    })
    child.once('exit', (code) => reject(new SetupError(`PostgreSQL ended with ${code} before it answered.`, said)))
  })
  return {
    url: `postgres://homing@127.0.0.1:${port}/postgres`,
    async stop() {
      await stop(child, 'SIGINT')
      await rm(folder, { recursive: true, force: true })
      forget()
    },
  }
}

/** Someone other than root to run it, or `null` where we are not root ourselves. */
async function otherUser() {
  if (process.getuid?.() !== 0) return null
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = await Promise.all([capture('id', ['-u', name]), capture('id', ['-g', name])])
    if (uid !== null && gid !== null) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new SetupError('PostgreSQL does not run as root, and there is no user "postgres" or "nobody".', 'Run the tests as another user.')
}

async function execute(command, args, options) {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => { said += text })
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  if (code !== 0) throw new SetupError(`${command} ended with ${code}.`, said)
}

/** A port nobody listens on at this moment. */
async function freePort() {
  const server = createServer()
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}
