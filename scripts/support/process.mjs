// Child processes for the scripts: run one, capture its output, keep it alive, and report progress as one line per step.
// Knows nothing of Rust, browsers or the project; `environment.mjs` does.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { untilExit } from './ending.mjs'

/** How long a child that is told to end may tidy up. */
const GRACE_MS = 5000

/** A command that ended with a code other than 0, or could not be started. `output` is the tail of what it printed. */
export class CommandError extends Error {
  constructor(command, code, output) {
    super(`${command} ended with ${code}`)
    this.name = 'CommandError'
    this.code = code
    this.output = output
  }
}

/**
 * A problem the reader can mend: the message says what is missing and how to get it. Scripts print it without a stack.
 */
export class SetupError extends Error {
  constructor(what, how) {
    super(`${what}\n  ${how.replaceAll('\n', '\n  ')}`)
    this.name = 'SetupError'
  }
}

/**
 * Runs a command to its end and resolves to `{ code, stdout, stderr }`.
 * Its output goes to the terminal unless `quiet`, which keeps it and shows the tail only in the error.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, quiet?: boolean, echo?: boolean, input?: string, timeout?: number, whole?: boolean, allowFailure?: boolean }} [options]
 *   `echo` both shows and keeps the output; `timeout` in milliseconds, after which it and all it started is ended; `whole`: all it
 *   started is ended with this process, too, not only itself;
 *   `allowFailure` resolves with the code instead of rejecting.
 */
export async function run(command, args, options = {}) {
  const { cwd, env = process.env, quiet = false, echo = false, input, timeout, whole = timeout !== undefined, allowFailure = false } = options
  const stdin = input === undefined ? 'ignore' : 'pipe'
  const output = quiet || echo ? 'pipe' : 'inherit'
  const group = whole && process.platform !== 'win32'
  const child = spawn(command, args, { cwd, env, stdio: [stdin, output, output], detached: group })
  const end = keep(child, { group, timeout })
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8')
  child.stderr?.setEncoding('utf8')
  child.stdout?.on('data', (text) => { stdout += text })
  child.stderr?.on('data', (text) => { stderr += text })
  if (echo) {
    child.stdout.pipe(process.stdout, { end: false })
    child.stderr.pipe(process.stderr, { end: false })
  }
  child.stdin?.on('error', () => { /* it ended before it read its input; its exit code says why */ })
  child.stdin?.end(input)
  const name = [command, ...args].join(' ')
  let code
  try {
    const [status, signal] = await once(child, 'close')
    code = status ?? signal
  } catch (error) {
    code = error.code ?? 'an error'
    stderr += error.message
  } finally {
    end()
  }
  if (code !== 0 && !allowFailure) throw new CommandError(name, code, tail(stderr + stdout))
  return { code, stdout, stderr }
}

/**
 * Ends a child with this process, and after so many milliseconds: whatever else holds its output would keep us waiting. One that leads a
 * `group` of its own is ended with all that is in it: no Ctrl-C reaches those. Each may tidy up first. Answers how to call that off.
 */
function keep(child, { group, timeout }) {
  const kill = (signal) => {
    try {
      if (child.pid !== undefined) process.kill(group ? -child.pid : child.pid, signal)
    } catch (error) {
      if (error.code !== 'ESRCH') throw error // gone already
    }
  }
  const forget = untilExit(() => kill('SIGTERM'))
  const timers = timeout === undefined ? [] : [
    setTimeout(() => {
      console.error(`\nended after ${Math.round(timeout / 1000)} s: ${child.spawnargs.join(' ')}`)
      kill('SIGTERM')
    }, timeout),
    setTimeout(() => {
      kill('SIGKILL')
      child.stdout?.destroy()
      child.stderr?.destroy()
    }, timeout + GRACE_MS),
  ]
  return () => {
    timers.forEach(clearTimeout)
    forget()
  }
}

/** The trimmed standard output of a command, or `null` when it cannot be run or fails. */
export async function capture(command, args, options = {}) {
  const { code, stdout } = await run(command, args, { ...options, quiet: true, allowFailure: true })
  return code === 0 ? stdout.trim() : null
}

/** Stops a child process and resolves when it is gone. `SIGTERM` lets it tidy up. */
export async function stop(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}

/**
 * Prints `label …`, does the work, and ends the line with the seconds it took. A mark every 30 s shows that it still runs.
 *
 * @template T
 * @param {string} label
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function progress(label, work) {
  const start = performance.now()
  const seconds = () => `${Math.round((performance.now() - start) / 1000)} s`
  process.stdout.write(`${label} …`)
  const mark = setInterval(() => process.stdout.write(` ${seconds()} …`), 30_000)
  try {
    const result = await work()
    process.stdout.write(` ${seconds()}\n`)
    return result
  } catch (error) {
    process.stdout.write(` failed after ${seconds()}\n`)
    throw error
  } finally {
    clearInterval(mark)
  }
}

/** Runs a script's `main`, prints mendable errors without a stack and sets the exit code. */
export async function runMain(main) {
  try {
    await main()
  } catch (error) {
    if (error instanceof SetupError) console.error(`\n${error.message}`)
    else if (error instanceof CommandError) console.error(`\n${error.output}\n\n${error.message}`)
    else console.error(error)
    process.exitCode = 1
  }
}

/** True when this module is the script that node was started with. */
export function isMain(meta) {
  return process.argv[1] !== undefined && meta.filename === realpathSync(process.argv[1])
}

function tail(text, lines = 40) {
  return text.trimEnd().split('\n').slice(-lines).join('\n')
}
