// An empty page that has loaded the built package under its public name: `window.homing` is the module. For tests that need
// the library in a real browser and no app around it.

import { join } from 'node:path'
import { serveStatic } from '../../scripts/static-server.mjs'
import { ROOT } from '../../scripts/support/environment.mjs'

const PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>bare</title>
<script type="importmap">{ "imports": { "homing": "/homing/homing.js" } }</script>
<script type="module">window.homing = await import('homing'); document.documentElement.dataset.ready = 'true'</script>
</head><body></body></html>`

/**
 * Serves the page; resolves to `{ url, origin, close }`.
 *
 * @param {{ port?: number }} [options] the port is part of the origin, and so of the storage
 */
export async function serveBarePage({ port = 0 } = {}) {
  const site = await serveStatic({ port, mounts: { '/homing/': join(ROOT, 'dist') }, files: { '/': PAGE } })
  return { url: site.url, origin: new URL(site.url).origin, close: site.close }
}

/** Waits until the module is loaded. */
export async function whenReady(page) {
  await page.waitForSelector('html[data-ready=true]', { state: 'attached' })
  return page
}
