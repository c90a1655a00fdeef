// Chromium started by us in a process group of its own, so that a test can kill all of it at once (browser, renderers,
// storage service), as a power button does to a program. Driven over its debugging port.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, readdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import { chromePath } from '../../scripts/support/environment.mjs'

const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--remote-debugging-port=0',
]

/**
 * Starts Chromium on a profile; resolves to `{ context, kill, quit }`. `kill` sends SIGKILL to the whole group and resolves when every
 * process of it is gone: one that is still ending may hold the lock of a database, and the next browser would not get in.
 *
 * @param {string} profile the user data folder
 */
export async function startChromium(profile) {
  const child = spawn(chromePath(), [...ARGS, `--user-data-dir=${profile}`, 'about:blank'], { detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  const gone = once(child, 'exit')
  const end = () => killGroup(child.pid)
  process.once('exit', end) // a test that fails half way leaves no browser behind
  const endpoint = await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const found = line.match(/^DevTools listening on (ws:\S+)/)
      if (found) resolve(found[1])
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => reject(new Error(`Chromium ended with ${code ?? signal} before it listened`)))
  })
  const browser = await chromium.connectOverCDP(endpoint)
  const kill = async () => {
    killGroup(child.pid)
    await gone
    while ((await livingOf(child.pid)).length > 0) await pause(5)
    process.off('exit', end)
  }
  return {
    context: browser.contexts()[0],
    kill,
    /** Ends it as a user does: then what `localStorage` holds is on the disk, too. */
    async quit() {
      const session = await browser.newBrowserCDPSession()
      await session.send('Browser.close')
      await gone
      await kill()
    },
  }
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error // gone already
  }
}

/** The processes of a group that still hold what they had open. There is no event for the end of somebody else's child. */
async function livingOf(group) {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const states = await Promise.all(ids.map(async (id) => {
    // Command names may hold anything but end with the last bracket; then: state, parent, group.
    const stat = await readFile(`/proc/${id}/stat`, 'utf8').catch(() => ') X 0 0')
    const [state, , of] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (Number(of) !== group || state === 'X') return false
    // A first thread that has ended is a zombie while others of its process still end, and hold its files and their locks.
    return state !== 'Z' || (await readdir(`/proc/${id}/task`).catch(() => [])).length > 1
  }))
  return ids.filter((_, at) => states[at])
}
