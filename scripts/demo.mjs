#!/usr/bin/env node
// The demo: sets up, builds, starts the reference server and serves the page. `--check` drives the page through the story of
// `tests/e2e/story.mjs` in a headless Chromium instead.
//
//   npm run demo [-- --check] [--port N] [--server-port N]

import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build, buildServer } from './build.mjs'
import { farmText } from './farm.mjs'
import { setUp } from './setup.mjs'
import { serveStatic } from './static-server.mjs'
import { ROOT } from './support/environment.mjs'
import { endOrderly } from './support/ending.mjs'
import { SetupError, isMain, runMain } from './support/process.mjs'
import { startServer } from './support/reference-server.mjs'

const HELP = `Usage: npm run demo [-- options]

Sets up what is missing, builds, starts the reference server and serves the demo page.
  --check          run the story in headless Chromium, one line per step; fails when a step fails
  --port N         port of the page (8788)
  --server-port N  port of the reference server (8787)
Environment: HOMING_FARM names the farm document to show, CHROME_PATH the browser for --check.`

const SCHEMA = 'src/schemas/egglogu.schema.json'
/** The demo's only user. */
const SCOPE = 'farm-1'

/**
 * Starts the reference server and the page's server, both built already.
 * Resolves to `{ url, server, site, farm, close }`; `farm` is the document's JSON text, also served as `/farm.json`.
 *
 * @param {{ port?: number, serverPort?: number, database?: string }} [options] port 0 (the default) picks a free one; without
 *   `database` the server's file is a temporary one
 */
export async function startDemo({ port = 0, serverPort = 0, database } = {}) {
  const farm = farmText()
  let server
  const site = await serveStatic({
    port,
    mounts: { '/': join(ROOT, 'www'), '/homing/': join(ROOT, 'dist') },
    files: {
      '/farm.json': farm,
      '/config.json': async () => JSON.stringify({ server: server.url, token: await server.token(SCOPE) }),
    },
  })
  try {
    server = await startServer({ schema: SCHEMA, port: serverPort, database, allowOrigin: new URL(site.url).origin })
  } catch (error) {
    await site.close()
    throw error
  }
  return {
    url: site.url,
    server,
    site,
    farm,
    async close() {
      await site.close()
      await server.stop()
    },
  }
}

/** Runs the story step by step. Resolves when all steps passed, rejects at the first that failed. */
async function check() {
  const story = join(ROOT, 'tests/e2e/story.mjs')
  if (!existsSync(story)) throw new SetupError('tests/e2e/story.mjs is not there.', 'The story cannot be checked without it.')
  const { runStory } = await import(story)
  const start = performance.now()
  let steps = 0
  const step = async (name, work) => {
    const began = performance.now()
    try {
      const result = await work()
      steps += 1
      console.log(`ok    ${name} (${Math.round(performance.now() - began)} ms)`)
      return result
    } catch (error) {
      console.log(`FAIL  ${name}`)
      throw error
    }
  }
  const demo = await startDemo()
  try {
    await runStory({ step, ...demo })
    console.log(`\nThe story holds: ${steps} steps in ${((performance.now() - start) / 1000).toFixed(1)} s`)
  } catch (error) {
    console.log(`\nThe story broke after ${steps} steps`)
    if (demo.server.log.length > 0) console.log(`The server's last lines:\n  ${demo.server.log.slice(-10).join('\n  ')}`)
    throw error
  } finally {
    await demo.close()
  }
}

async function show({ port, serverPort }) {
  const folder = join(ROOT, '.cache/demo')
  await mkdir(folder, { recursive: true })
  const demo = await startDemo({ port, serverPort, database: join(folder, 'homing.sqlite') }).catch((error) => {
    if (error.code === 'EADDRINUSE') throw new SetupError(`Port ${port} is taken.`, 'Choose another: npm run demo -- --port 9000')
    throw error
  })
  console.log(`\nThe demo is at   ${demo.url}\nOne device only  ${demo.url}?device=a\nThe server is at ${demo.server.url}\nCtrl-C ends both.`)
  let ending = false
  demo.server.process.once('exit', (code) => {
    if (ending) return
    console.error(`The server ended by itself (${code}):\n${demo.server.log.slice(-10).join('\n')}`)
    process.exit(1)
  })
  endOrderly(() => {
    ending = true
    demo.close().then(() => process.exit(0))
  })
}

async function main() {
  const { values } = parseArgs({ options: { check: { type: 'boolean' }, help: { type: 'boolean' }, port: { type: 'string', default: '8788' }, 'server-port': { type: 'string', default: '8787' } } })
  if (values.help) return console.log(HELP)
  if (values.check) await setUp(['browser', 'sqlite', 'packages'])
  await build()
  await buildServer()
  if (values.check) await check()
  else await show({ port: Number(values.port), serverPort: Number(values['server-port']) })
}

if (isMain(import.meta)) await runMain(main)
