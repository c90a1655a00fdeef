// The package as its users meet it: the tarball's contents, and a page that writes, is reloaded and reads, in a Vite project
// and as a plain module page.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ROOT } from '../../scripts/support/environment.mjs'
import { run } from '../../scripts/support/process.mjs'
import { serveStatic } from '../../scripts/static-server.mjs'
import { launchBrowser } from '../support/browser.mjs'
import { packTarball } from './tarball.mjs'

/** Writes one record on the first load; shows what was there before in the title. */
const APP = `import { openDatabase } from 'homing'
const db = await openDatabase({ name: 'packaging' })
const notes = db.collection('notes')
const found = notes.list().map((note) => note.text).join(',')
if (found === '') await notes.insert({ id: 'n1', text: 'Ñandú laid 3' })
await db.close()
document.title = found === '' ? 'written' : 'read ' + found
`
const HTML = '<!doctype html><meta charset="utf-8"><title>loading</title><link rel="icon" href="data:,">'

let tarball
before(async () => { tarball = await packTarball() })
after(() => tarball?.remove())

test('the tarball holds one wasm file, and every file that package.json names', () => {
  const { files, manifest } = tarball
  assert.deepEqual(files.filter((path) => path.endsWith('.wasm')), ['dist/homing.wasm'])
  const named = Object.values(manifest.exports).flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))
  for (const path of [manifest.types, ...named]) assert.ok(files.includes(path.slice(2)), `${path} is not in the tarball`)
  for (const path of ['LICENSE-MIT', 'LICENSE-APACHE', 'dist/NOTICE']) assert.ok(files.includes(path), `${path} is not in the tarball`)
  const foreign = files.filter((path) => !/^(dist\/|package\.json$|README|LICENSE|CHANGELOG)/.test(path))
  assert.deepEqual(foreign, [])
})

test('importing it in Node does nothing: no output, no globals, no use of browser storage', async () => {
  const project = await tarball.project('node', {
    'main.js': `const names = ['indexedDB', 'localStorage', 'window', 'document', 'BroadcastChannel', 'fetch']
for (const name of names) Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error('import touched ' + name) } })
for (const name of ['instantiate', 'instantiateStreaming', 'compile', 'compileStreaming', 'Module']) Object.defineProperty(WebAssembly, name, { get() { throw new Error('import touched WebAssembly.' + name) } })
const before = Object.getOwnPropertyNames(globalThis).join()
const { openDatabase } = await import('homing')
await import('homing/slim')
await import('homing/testing')
if (typeof openDatabase !== 'function') throw new Error('no openDatabase')
if (Object.getOwnPropertyNames(globalThis).join() !== before) throw new Error('import added a global')
`,
    'required.cjs': "if (typeof require('homing').openDatabase !== 'function') throw new Error('no openDatabase')",
  })
  for (const file of ['main.js', 'required.cjs']) {
    const { stdout, stderr } = await run(process.execPath, ['--no-warnings', file], { cwd: project, quiet: true })
    assert.equal(stdout + stderr, '')
  }
})

test('its types hold under strict, skipLibCheck off, with both ways to resolve modules', async () => {
  const project = await tarball.project('types', {
    'main.ts': `import { openDatabase, type Database } from 'homing'
import { createWorld } from 'homing/testing'
interface Farm { flocks: { name: string; count: number } }
export async function use(): Promise<number> {
  const db: Database<Farm> = await openDatabase<Farm>({ name: 'types' })
  const row = await db.collection('flocks').insert({ name: 'Layer Group 3', count: 5 })
  // @ts-expect-error a typo does not compile
  db.collection('flock')
  // @ts-expect-error wrong type of a field
  await db.collection('flocks').insert({ name: 'x', count: '5' })
  return row.count
}
export async function tested(): Promise<number | undefined> {
  const world = await createWorld<Farm>({ collections: { flocks: { merge: 'fields' } }, seed: 7, faults: { late: 0.1 } })
  const database: Database<Farm> = world.device('a')
  // @ts-expect-error a typo does not compile
  world.server.rows('flock')
  // @ts-expect-error no such fault
  world.network.next('earthquake')
  await world.run(database.sync())
  return world.server.rows('flocks')[0]?.count
}
`,
  })
  for (const [module, resolution] of [['esnext', 'bundler'], ['nodenext', 'nodenext']]) {
    const options = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--target', 'es2022', '--lib', 'es2022,dom,dom.iterable,esnext.disposable', '--types', '', '--module', module, '--moduleResolution', resolution]
    const { code, stdout } = await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...options, 'main.ts'], { cwd: project, quiet: true, allowFailure: true })
    assert.equal(code, 0, `${resolution}:\n${stdout}`)
  }
})

test('an app is tested in Node with what it imports', async () => {
  const project = await tarball.project('tested', {
    'main.js': `import { HomingError } from 'homing'
import { createWorld } from 'homing/testing'
const world = await createWorld()
await world.device('a').collection('c').insert({ id: 'x' })
await world.settle()
const error = await world.device('b').collection('c').insert({ id: 'x' }).catch((error) => error)
console.log(world.server.rows('c').length, error instanceof HomingError, error.code)
`,
  })
  const { stdout } = await run(process.execPath, ['--no-warnings', 'main.js'], { cwd: project, quiet: true })
  assert.equal(stdout.trim(), '1 true duplicate-id')
})

test('a plain module page writes, is reloaded, and reads', async () => {
  const project = await tarball.project('plain', {
    'index.html': `${HTML}<script type="importmap">{ "imports": { "homing": "./node_modules/homing/dist/homing.js" } }</script><script type="module" src="app.js"></script>`,
    'app.js': APP,
  })
  const site = await serveStatic({ mounts: { '/': project } })
  try {
    await assertWritesAndReads(site.url)
  } finally {
    await site.close()
  }
})

test('a Vite project builds without configuration or warning, and its page writes, is reloaded, and reads', async () => {
  const project = await viteProject('vite-build')
  const { build, createLogger, preview } = await import('vite')
  const warnings = []
  const customLogger = { ...createLogger('silent'), warn: (text) => warnings.push(text), warnOnce: (text) => warnings.push(text), error: (text) => warnings.push(text) }
  // Top-level await in the page's own script needs the target; the package itself uses none.
  await build({ root: project, configFile: false, customLogger, build: { target: 'esnext', chunkSizeWarningLimit: 5000 } })
  assert.deepEqual(warnings, [])
  const site = await preview({ root: project, configFile: false, logLevel: 'silent', preview: { host: '127.0.0.1', port: 0 } })
  try {
    await assertWritesAndReads(`http://127.0.0.1:${site.httpServer.address().port}/`)
  } finally {
    await site.close()
  }
})

test("Vite's development server serves it without configuration", async () => {
  const project = await viteProject('vite-dev')
  const { createServer } = await import('vite')
  const site = await createServer({ root: project, configFile: false, logLevel: 'silent', server: { host: '127.0.0.1', port: 0 } })
  await site.listen()
  try {
    await assertWritesAndReads(`http://127.0.0.1:${site.httpServer.address().port}/`)
  } finally {
    await site.close()
  }
})

function viteProject(name) {
  return tarball.project(name, { 'index.html': `${HTML}<script type="module" src="/app.js"></script>`, 'app.js': APP })
}

async function assertWritesAndReads(url) {
  const browser = await launchBrowser()
  try {
    const page = await browser.open(url)
    const settled = () => page.waitForFunction(() => document.title !== 'loading').then(() => page.title(), (error) => assert.fail(`${error.message}\n${browser.problems.join('\n')}`))
    assert.equal(await settled(), 'written')
    await page.reload()
    assert.equal(await settled(), 'read Ñandú laid 3')
    assert.deepEqual(browser.problems, [])
  } finally {
    await browser.close()
  }
}
