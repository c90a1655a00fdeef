// A script that is ended from outside leaves no process and no folder behind.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { test } from 'node:test'

const module = (path) => JSON.stringify(new URL(`../../scripts/support/${path}`, import.meta.url).href)

/** Starts a script, and resolves to it and the first line of JSON that it prints. */
async function start(args, env = process.env) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env })
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('{')) return { child, said: JSON.parse(line) }
  }
  throw new Error('it ended before it said anything')
}

const inline = (code) => start(['--input-type=module', '--eval', code])

async function end({ child }, signal) {
  const ended = once(child, 'exit')
  child.kill(signal)
  const [code, by] = await ended
  return code ?? by
}

/** Whether a process runs; one that ended and that nobody has asked about yet does not. */
function runs(pid) {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const status = `/proc/${pid}/status`
  return !existsSync(status) || !/^State:\s+Z/m.test(readFileSync(status, 'utf8'))
}

async function gone(...pids) {
  for (let waited = 0; waited < 100 && pids.some(runs); waited += 1) await new Promise((resolve) => setTimeout(resolve, 50))
  assert.deepEqual(pids.filter(runs), [], 'these still run')
}

for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  test(`${signal}: a reference server ends with its script, and its folder is gone`, async () => {
    const script = await inline(`import { startServer } from ${module('reference-server.mjs')}
      const server = await startServer({ schema: 'src/schemas/egglogu.schema.json' })
      console.log(JSON.stringify({ pid: server.process.pid, database: server.database }))`)
    assert.ok(runs(script.said.pid) && existsSync(script.said.database))
    assert.equal(await end(script, signal), code)
    await gone(script.said.pid)
    assert.equal(existsSync(script.said.database.replace('/homing.sqlite', '')), false, 'its folder')
  })
}

test('a PostgreSQL and what runs beside it end with their script', { timeout: 120_000 }, async () => {
  // The command has a child, as cargo and npm have.
  const command = `const { spawn } = require('node:child_process'); const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    console.log(JSON.stringify({ pids: [process.pid, child.pid], url: process.env.HOMING_TEST_POSTGRES })); setInterval(() => {}, 1000)`
  const script = await start(['scripts/postgres.mjs', '--', process.execPath, '-e', command])
  const port = new URL(script.said.url).port
  const line = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n').find((one) => one.includes(`port=${port}`))
  const [, pid, data] = /^\s*(\d+) .* -D (\S+)/.exec(line)
  assert.equal(await end(script, 'SIGTERM'), 143)
  await gone(Number(pid), ...script.said.pids)
  assert.equal(existsSync(data), false, 'its data')
})

test('an orderly end is waited for, by who asks once', async () => {
  const script = await inline(`import { endOrderly } from ${module('ending.mjs')}
    endOrderly(() => setTimeout(() => process.exit(7), 200))
    setInterval(() => {}, 1000)
    console.log('{}')`)
  assert.equal(await end(script, 'SIGHUP'), 7)
})

test('SIGHUP is passed on where there is no terminal, and is the end where there was one', async () => {
  const server = `process.on('SIGHUP', () => console.log(JSON.stringify({ read: true }))); setInterval(() => {}, 1000); console.log(JSON.stringify({ pid: process.pid }))`
  const script = (terminal) => inline(`import { spawn } from 'node:child_process'
    import { passSignals } from ${module('ending.mjs')}
    passSignals(spawn(process.execPath, ['-e', ${JSON.stringify(server)}], { stdio: 'inherit' }), { terminal: ${terminal} })`)
  const daemon = await script(false)
  const heard = once(createInterface({ input: daemon.child.stdout }), 'line')
  daemon.child.kill('SIGHUP')
  assert.equal((await heard)[0], '{"read":true}')
  assert.ok(runs(daemon.said.pid))
  assert.equal(await end(daemon, 'SIGTERM'), 1)
  await gone(daemon.said.pid)
  const shell = await script(true)
  assert.equal(await end(shell, 'SIGHUP'), 1)
  await gone(shell.said.pid)
})
