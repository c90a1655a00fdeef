// Loading the module: nothing happens at import, errors say what is wrong, and after a failure the next call works.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

const WASM = readFileSync(new URL('../../dist/homing.wasm', import.meta.url))
const CSP = (script) => `<!doctype html><meta http-equiv="Content-Security-Policy" content="script-src 'self' 'unsafe-inline'${script}"><script type="module">
  import { openDatabase } from '/dist/homing.js'
  // Said aloud, because a strict policy also keeps the test from evaluating code in the page.
  openDatabase({ name: 'csp' }).then((db) => db.wipe()).then(() => 'open', ({ code, message }) => code + ': ' + message).then((outcome) => console.log('outcome', outcome))
</script>`

let site
let page

before(async () => {
  site = await openSite({ files: { '/index.wasm': '<!doctype html><title>not found</title>', '/strict': CSP(''), '/allowed': CSP(" 'wasm-unsafe-eval'") } })
  page = await site.open()
})
after(() => site.close())

test('in Node importing does nothing and opening is refused', async () => {
  const { openDatabase, HomingError } = await import('../../dist/homing.js')
  await assert.rejects(openDatabase({ name: 'x' }), (error) => error instanceof HomingError && error.code === 'unsupported-environment' && /browser/.test(error.message))
  const slim = await import('../../dist/slim.js')
  await assert.rejects(slim.openDatabase({ name: 'x', wasm: WASM }), { code: 'unsupported-environment' })
})

test('the slim entry names what is wrong with the module, and works with a good one after that', async () => {
  const result = await page.evaluate(async () => {
    const { openDatabase } = await import('homing/slim')
    const good = new URL('/dist/homing.wasm', location.href)
    const bytes = await (await fetch(good)).arrayBuffer()
    const used = await fetch(good)
    await used.text()
    const sources = { none: undefined, missing: '/nothing.wasm', html: '/index.wasm', cut: bytes.slice(0, bytes.byteLength / 2), empty: new ArrayBuffer(0), unreachable: 'http://127.0.0.1:9/homing.wasm', used }
    const failures = {}
    for (const [name, wasm] of Object.entries(sources)) failures[name] = await failure(openDatabase({ name: 'slim', wasm }))
    failures.nothing = await failure(openDatabase())
    const opened = await Promise.all([openDatabase({ name: 'slim', wasm: fetch(good) }), openDatabase({ name: 'slim', wasm: good })])
    await opened[0].collection('c').insert({ id: 'a' })
    const seen = opened[1].collection('c').count()
    await opened[0].wipe()
    return { failures, seen }
  })
  const { failures, seen } = result
  for (const [name, { code, phase }] of Object.entries(failures)) assert.deepEqual([name, code, phase], [name, 'wasm-load-failed', 'open'])
  assert.match(failures.none.message, /option wasm/)
  assert.match(failures.missing.message, /HTTP 404.*dist\/homing\.wasm/)
  assert.match(failures.html.message, /no WebAssembly \(text\/html|no WebAssembly \(application\/wasm/)
  assert.match(failures.cut.message, /cut short/)
  assert.match(failures.empty.message, /cut short/)
  assert.match(failures.unreachable.message, /could not be fetched/)
  assert.match(failures.used.message, /read before/)
  assert.equal(seen, 1)
})

for (const [name, make] of [['bytes', '(url) => fetch(url).then((r) => r.arrayBuffer())'], ['a Response', '(url) => fetch(url)'], ['a Module', '(url) => WebAssembly.compileStreaming(fetch(url))']]) {
  test(`the slim entry takes ${name}`, async () => {
    const fresh = await site.open()
    const count = await fresh.evaluate(async (source) => {
      const { openDatabase } = await import('homing/slim')
      const db = await openDatabase({ name: `slim-${crypto.randomUUID()}`, wasm: await (0, eval)(source)('/dist/homing.wasm') })
      await db.collection('c').insert({ id: 'a' })
      const count = db.collection('c').count()
      await db.wipe()
      return count
    }, make)
    assert.equal(count, 1)
    await fresh.close()
  })
}

test('a content security policy needs wasm-unsafe-eval and nothing else; without it the error says so', async () => {
  const outcome = async (path) => {
    const tab = await site.browser.context.newPage()
    const said = tab.waitForEvent('console', { predicate: (message) => message.text().startsWith('outcome') })
    await tab.goto(new URL(path, site.url).href)
    const text = (await said).text()
    await tab.close()
    return text
  }
  assert.equal(await outcome('/allowed'), 'outcome open')
  assert.match(await outcome('/strict'), /^outcome wasm-load-failed: .*'wasm-unsafe-eval'/)
})

test('what another tab writes while the module is on its way is there after opening', async () => {
  const other = await site.open()
  await other.evaluate(async () => {
    window.db = await openDatabase({ name: 'late' })
    await db.collection('c').insert({ id: 'before' })
  })
  const fresh = await site.open()
  await fresh.evaluate(() => {
    const { transaction } = IDBDatabase.prototype
    const read = new Promise((resolve) => {
      IDBDatabase.prototype.transaction = function (...args) {
        const begun = transaction.apply(this, args)
        begun.addEventListener('complete', resolve)
        return begun
      }
    })
    const told = new Promise((resolve) => { new BroadcastChannel(`homing:${JSON.stringify(['late', ''])}`).onmessage = resolve })
    const wasm = new Promise((resolve) => { window.give = () => resolve(fetch('/dist/homing.wasm')) })
    const opening = import('homing/slim').then(({ openDatabase }) => openDatabase({ name: 'late', wasm }))
    Object.assign(window, { read, told, opening })
  })
  await fresh.evaluate(() => read)
  await other.evaluate(() => db.collection('c').insert({ id: 'meanwhile' }))
  const ids = await fresh.evaluate(async () => {
    await told
    give()
    const db = await opening
    const rows = db.collection('c')
    await new Promise((resolve) => {
      const look = () => rows.get('meanwhile') && resolve()
      rows.subscribe(look)
      look()
    })
    return rows.list().map(({ id }) => id)
  })
  assert.deepEqual(ids, ['before', 'meanwhile'])
  await Promise.all([fresh.close(), other.evaluate(() => db.wipe())])
  await other.close()
})

test('a world for tests works in a page as it does in Node', async () => {
  const seen = await page.evaluate(async () => {
    const { createWorld } = await import('/dist/testing.js')
    const world = await createWorld({ seed: 3, faults: { 'lost-answer': 0.5 } })
    await world.device('a').collection('c').insert({ id: 'x' })
    world.crash('a')
    await world.reopen('a')
    await world.settle()
    return [world.device('b').collection('c').count(), Math.sign(world.network.injected['lost-answer'] ?? 0)]
  })
  assert.deepEqual(seen, [1, 1])
})
