// One device of the story: a Chromium with a profile of its own that shows the demo page, and the few things a user or the
// app does there. Asserts nothing.

import { join } from 'node:path'
import { launchBrowser } from '../support/browser.mjs'

const SYNC_TIMEOUT_MS = 120_000

/**
 * Opens the demo page of device `id` in a new profile.
 *
 * - `page`, `problems`: the page; what it and its siblings complained about.
 * - `run(work, value)`: runs `work(db, value)` in the page and resolves to its JSON result.
 * - `find(testid)`: a locator. `tab(name)`: goes to a tab.
 * - `switchOnline(online)`: the page's own switch. `sync()`: cycles until nothing remains; the reports, added up.
 * - `document()`: `exportDocument()`. `openTab()`: the same device in a second tab. `reload()`. `shoot(name)`. `close()`.
 *
 * @param {{ url: string, id: 'a' | 'b', screenshots: string }} options `screenshots` is a folder
 */
export async function openDevice({ url, id, screenshots }) {
  const browser = await launchBrowser()
  const address = `${url}?device=${id}`
  const first = await browser.open(address)
  await first.setViewportSize({ width: 1000, height: 900 })
  return { ...await createTab(browser, first, id, screenshots), id, problems: browser.problems, close: () => browser.close(), openTab }

  async function openTab() {
    const page = await browser.open(address)
    return { ...await createTab(browser, page, id, screenshots), close: () => page.close() }
  }
}

async function createTab(browser, page, id, screenshots) {
  const ready = () => page.waitForSelector('[data-ready=true]', { state: 'attached' })
  await ready()
  const find = (testid) => page.locator(`[data-testid=${testid}]`)
  // Playwright keeps only the message of an error; the code of a HomingError belongs into it.
  const run = (work, value) => page.evaluate(async ([source, argument]) => {
    try {
      return await (0, eval)(`(${source})`)(window.homing.db, argument)
    } catch (error) {
      throw error?.code ? new Error(`${error.code} in ${error.phase}: ${error.message}`) : error
    }
  }, [String(work), value])
  return {
    page,
    find,
    run,
    tab: (name) => find(`tab-${name}`).click(),
    async switchOnline(online) {
      await find('online-switch').setChecked(online)
      await page.waitForFunction((wanted) => window.homing.network.online === wanted, online)
    },
    sync: () => run(syncAll, SYNC_TIMEOUT_MS),
    document: async () => JSON.parse(await run(async (db) => JSON.stringify(await db.exportDocument()))),
    async reload() {
      await page.reload()
      await ready()
    },
    shoot: (name) => page.screenshot({ path: join(screenshots, `${name}.png`) }),
  }
}

// Runs in the page: cycles until one of them leaves nothing to send. Conflicts and dead letters do not count as remaining.
async function syncAll(db, timeout) {
  const sum = { pushed: 0, pulled: 0, conflicts: 0, rejected: 0, cycles: 0 }
  const end = performance.now() + timeout
  for (;;) {
    const report = await db.sync()
    for (const name of ['pushed', 'pulled', 'conflicts', 'rejected']) sum[name] += report[name]
    sum.cycles += 1
    if (report.remaining === 0) return sum
    if (performance.now() > end) throw new Error(`still ${report.remaining} mutations to send after ${sum.cycles} cycles`)
  }
}
