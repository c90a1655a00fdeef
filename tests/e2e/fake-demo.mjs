// The demo page in a browser of its own, with a server that takes everything unless a test says otherwise. Asserts nothing.

import { join } from 'node:path'
import { farmText } from '../../scripts/farm.mjs'
import { serveStatic } from '../../scripts/static-server.mjs'
import { ROOT } from '../../scripts/support/environment.mjs'
import { launchBrowser } from '../support/browser.mjs'
import { answerPage, startFakeServer } from '../support/fake-server.mjs'

/**
 * Starts the server, the page's server and a browser.
 *
 * - `url`, `input`: the page; the farm that it loads.
 * - `server`, `accept`: the fake server; the answer of one that takes everything.
 * - `browser`, `site`: to ask for problems, to end the page's server.
 * - `config`: what `/config.json` says, yours to change; a function is asked, and may take its time.
 * - `open(query)`: a new page, ready, with `find(testid)` beside it. `close()`.
 */
export async function openFakeDemo() {
  const farm = farmText()
  const server = await startFakeServer()
  let rev = 0
  const accept = (asked) => {
    const answer = answerPage({ asked, rev })
    rev += asked.mutations.length
    return answer
  }
  server.answer(accept)
  const config = { current: { server: server.url, token: 'token' } }
  const site = await serveStatic({
    mounts: { '/': join(ROOT, 'www'), '/homing/': join(ROOT, 'dist') },
    files: {
      '/farm.json': farm,
      '/config.json': async () => JSON.stringify(typeof config.current === 'function' ? await config.current() : config.current),
    },
  })
  const browser = await launchBrowser()
  return {
    url: site.url,
    input: JSON.parse(farm),
    server,
    accept,
    browser,
    site,
    config,
    async open(query = '?device=a') {
      const page = await browser.open(`${site.url}${query}`)
      await page.waitForSelector('[data-ready=true]', { state: 'attached' })
      return { page, find: (testid) => page.locator(`[data-testid=${testid}]`) }
    },
    async close() {
      await browser.close()
      await site.close()
      await server.close()
    },
  }
}

/** Loads the farm by the button of the first run. */
export async function loadFarm({ find }) {
  await find('load-farm').click()
  await find('flock').first().waitFor()
}
