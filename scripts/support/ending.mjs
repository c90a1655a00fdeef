// What a script leaves behind when it is ended from outside: nothing. A signal ends node without the event `exit`, so it is made an exit
// first. Starting processes is `process.mjs`.

import { existsSync, rmSync } from 'node:fs'
import { constants } from 'node:os'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']
const cleanups = new Set()
let orderly = null

const exit = () => {
  for (const cleanup of [...cleanups].reverse()) {
    try {
      cleanup()
    } catch (error) {
      console.error(error)
    }
  }
}
const signalled = (signal) => {
  const work = orderly
  orderly = null // whoever asks twice does not wait
  if (work === null) process.exit(128 + constants.signals[signal])
  work(signal)
}

function listen(wanted) {
  const change = wanted ? 'on' : 'off'
  if (process.listeners('exit').includes(exit) === wanted) return
  process[change]('exit', exit)
  for (const signal of SIGNALS) process[change](signal, signalled)
}

/**
 * Does this when the process ends, by itself or by a signal (which then is an exit with 128 and its number). Synchronous: ends children,
 * removes folders. What was begun last ends first. Answers how to call that off.
 *
 * @param {() => void} cleanup
 */
export function untilExit(cleanup) {
  cleanups.add(cleanup)
  listen(true)
  return () => {
    cleanups.delete(cleanup)
    listen(cleanups.size > 0 || orderly !== null)
  }
}

/**
 * At the first signal does this instead, which ends the process itself when it is done.
 *
 * @param {(signal: string) => void} work
 */
export function endOrderly(work) {
  orderly = work
  listen(true)
}

/** Removes a folder whose last user was just told to end; `until` is a file that it takes away last. */
export function removeNow(folder, until) {
  const patience = performance.now() + 3000
  while (until !== undefined && existsSync(until) && performance.now() < patience) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 })
}

/**
 * A server that reads its settings again on SIGHUP is told so, unless there is a terminal: then that signal means that it was closed.
 * Ctrl-C reaches the child itself; this process waits for its orderly end.
 */
export function passSignals(child, { terminal = Boolean(process.stdin.isTTY || process.stdout.isTTY) } = {}) {
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  process.on('SIGHUP', () => child.kill(terminal ? 'SIGTERM' : 'SIGHUP'))
  child.once('error', (error) => { console.error(error); process.exitCode = 1 })
  child.once('exit', (code) => { process.exitCode = code ?? 1 })
}
