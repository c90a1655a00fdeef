// The reference server as a process of its own, for tests and the demo: start, stop, kill, restart on the same file and port,
// mint tokens. Building it is `build.mjs`.

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ROOT, serverBinary } from './environment.mjs'
import { removeNow, untilExit } from './ending.mjs'
import { SetupError, run, stop } from './process.mjs'

const READY = /^listening on http:\/\/[^\s:]+:(\d+)/

/**
 * Starts `homing-server` and resolves when it says that it listens.
 *
 * - `url`, `port`: where; they stay the same over `restart`.
 * - `database`: the SQLite file, or `postgres://…`. `schema`: the declaration file it was given.
 * - `process`: the running child process.
 * - `token(scope)`: a bearer token for that scope.
 * - `log`: the lines it printed on stderr, oldest first; the last 1,000.
 * - `kill()`: SIGKILL, as a crash. `restart()`: kill, then start again on the same file and port.
 * - `stop()`: graceful stop; removes the database unless its path was passed in. Safe to call twice.
 *
 * @param {{ schema: string, database?: string, port?: number, host?: string, secret?: string, allowOrigin?: string, args?: readonly string[] }} options
 * @example
 * const server = await startServer({ schema: 'www/farm.schema.json' })
 * await fetch(`${server.url}/api/v1/sync/delta`, { headers: { authorization: `Bearer ${await server.token('farm-1')}` } })
 * await server.stop()
 */
export async function startServer(options) {
  const binary = serverBinary()
  if (!existsSync(binary)) throw new Error(`${binary} is not there; run: npm run build:server`)
  const env = { ...process.env, HOMING_JWT_SECRET: options.secret ?? randomBytes(32).toString('hex') } // not an argument: `ps` shows those
  const folder = options.database === undefined ? await mkdtemp(join(tmpdir(), 'homing-server-')) : null
  const forget = folder === null ? () => {} : untilExit(() => removeNow(folder))
  const database = options.database ?? join(folder, 'homing.sqlite')
  const host = options.host ?? '127.0.0.1'
  const log = []
  const start = (port) => startProcess(binary, [
    'serve', '--listen', `${host}:${port}`, '--database', database.includes('://') ? database : `sqlite:${database}`, '--schema', options.schema, '--allow-origin', options.allowOrigin ?? '*', ...options.args ?? [],
  ], env, log)

  let running = await start(options.port ?? 0)
  const { port } = running
  const server = {
    url: `http://${host}:${port}`,
    port,
    database,
    schema: options.schema,
    log,
    get process() { return running.child },
    async token(scope) {
      const { stdout } = await run(binary, ['token', '--scope', scope], { cwd: ROOT, env, quiet: true })
      return stdout.trim()
    },
    async kill() {
      await stop(running.child, 'SIGKILL')
    },
    async restart() {
      await server.kill()
      running = await start(port)
    },
    async stop() {
      await stop(running.child)
      if (folder !== null) await rm(folder, { recursive: true, force: true })
      forget()
    },
  }
  return server
}

/** Resolves to `{ child, port }` at the line `listening on …`, or rejects with what it printed when it ends before that. */
function startProcess(binary, args, env, log) {
  const child = spawn(binary, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const forget = untilExit(() => child.kill('SIGKILL')) // a test that fails half way leaves no server behind
  child.once('exit', forget)
  createInterface({ input: child.stderr }).on('line', (line) => {
    log.push(line)
    if (log.length > 1000) log.shift()
  })
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const ready = line.match(READY)
      if (ready !== null) resolve({ child, port: Number(ready[1]) })
    })
    child.once('error', reject)
    child.once('close', (code, signal) => reject(new SetupError(`homing-server ended with ${code ?? signal} before it listened on ${args[args.indexOf('--listen') + 1]}.`, `It said:\n${log.slice(-20).join('\n')}`)))
  })
}
