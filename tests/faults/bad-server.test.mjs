// A hostile or broken server: a bad row is left out and all others arrive, a bad answer is an error with a code and nothing
// of it is applied, what waits to be sent stays, and the page and its prototypes are unharmed.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { answerPage, goodRow, startFakeServer } from '../support/fake-server.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

const DEEP = `${'{"o":'.repeat(5000)}1${'}'.repeat(5000)}`
const STAMP = '"_updatedAt":"2026-02-01T00:00:00.000Z"'

// Rows that are not records; with an id that may be asked for afterwards. With `exact` the row may also be kept as it is.
const BAD_ROWS = [
  { name: 'null', text: 'null' },
  { name: 'a number', text: '7' },
  { name: 'a string', text: '"row"' },
  { name: 'an array', text: '[1,2]' },
  { name: 'no members', text: '{}' },
  { name: 'no id', text: `{"n":1,${STAMP},"_rev":50}` },
  { name: 'id a number', text: `{"id":5,${STAMP},"_rev":50}` },
  { name: 'id empty', text: `{"id":"",${STAMP},"_rev":50}`, id: '' },
  { name: 'id with a control character', text: `{"id":"bad\\u0000id",${STAMP},"_rev":50}`, id: 'bad\u0000id' },
  { name: 'id of 5,000 characters', text: `{"id":"${'x'.repeat(5000)}",${STAMP},"_rev":50}`, id: 'x'.repeat(5000) },
  { name: 'id an object', text: `{"id":{"a":1},${STAMP},"_rev":50}` },
  { name: '_updatedAt a number', text: '{"id":"bad-stamp-1","_updatedAt":5,"_rev":50}', id: 'bad-stamp-1' },
  { name: '_updatedAt no time', text: '{"id":"bad-stamp-2","_updatedAt":"yesterday","_rev":50}', id: 'bad-stamp-2' },
  { name: 'no _updatedAt', text: '{"id":"bad-stamp-3","_rev":50}', id: 'bad-stamp-3' },
  { name: '_rev a text', text: `{"id":"bad-rev-1",${STAMP},"_rev":"x"}`, id: 'bad-rev-1' },
  { name: '_rev negative', text: `{"id":"bad-rev-2",${STAMP},"_rev":-5}`, id: 'bad-rev-2' },
  { name: '_deletedAt a number', text: `{"id":"bad-tombstone",${STAMP},"_rev":50,"_deletedAt":7}`, id: 'bad-tombstone' },
  { name: 'depth 5,000', text: `{"id":"bad-deep",${STAMP},"_rev":50,"o":${DEEP}}`, id: 'bad-deep' },
  { name: 'arrays of depth 5,000', text: `{"id":"bad-deep-2",${STAMP},"_rev":50,"o":${'['.repeat(5000)}${']'.repeat(5000)}}`, id: 'bad-deep-2' },
  { name: 'a number out of range', text: `{"id":"bad-number",${STAMP},"_rev":50,"n":1e400}`, id: 'bad-number' },
  { name: 'a lone surrogate', text: `{"id":"bad-surrogate",${STAMP},"_rev":50,"s":"a\\ud800b"}`, id: 'bad-surrogate', exact: { s: 'a\ud800b' } },
  { name: 'an own __proto__', text: `{"id":"bad-proto",${STAMP},"_rev":50,"__proto__":{"polluted":true}}`, id: 'bad-proto', exact: JSON.parse('{"__proto__":{"polluted":true}}') },
  { name: '__proto__ further down', text: `{"id":"bad-proto-2",${STAMP},"_rev":50,"a":[{"__proto__":{"polluted":true}}]}`, id: 'bad-proto-2', exact: JSON.parse('{"a":[{"__proto__":{"polluted":true}}]}') },
  { name: 'members constructor and prototype', text: `{"id":"bad-ctor",${STAMP},"_rev":50,"constructor":{"prototype":{"polluted":true}}}`, id: 'bad-ctor', exact: { constructor: { prototype: { polluted: true } } } },
]

let site
let server
let browser
before(async () => {
  site = await serveBarePage()
  server = await startFakeServer()
  browser = await launchBrowser()
})
after(async () => {
  await browser?.close()
  await server?.close()
  await site?.close()
})

/** Opens a database of its own, `name`, on a fresh page, connected to the fake server; nothing is sent unasked. */
async function openPage(name) {
  const tab = await whenReady(await browser.open(site.url))
  await tab.evaluate(openDatabase, { name, url: server.url })
  return tab
}

// Runs in the page.
async function openDatabase({ name, url }) {
  window.db = await window.homing.openDatabase({ name, sync: { url, auto: false, getToken: async () => 'token' } })
  window.rows = window.db.collection('rows')
}

// Runs in the page.
async function sync() {
  try {
    return { report: await window.db.sync() }
  } catch (error) {
    return { code: error?.code, message: error?.message, retryable: error?.retryable, isHomingError: error instanceof window.homing.HomingError }
  }
}

test('among good rows each bad one is left out, and later pages arrive', { timeout: 60_000 }, async () => {
  const records = [goodRow(1), ...BAD_ROWS.flatMap(({ text }, index) => [text, goodRow(index + 2)])]
  const wanted = [...Array.from({ length: BAD_ROWS.length + 1 }, (_, index) => `good-${index + 1}`), 'good-70'].sort()
  const ids = BAD_ROWS.flatMap(({ id }) => id === undefined ? [] : [id])
  server.answer((asked) => asked.cursor?.startsWith('c1.60.')
    ? answerPage({ asked, records: [goodRow(70)], rev: 80 })
    : answerPage({ asked, records: asked.cursor === null ? records : [], rev: asked.cursor === null ? 60 : 80, hasMore: asked.cursor === null }))
  server.requests.length = 0
  const tab = await openPage('bad-rows')
  const outcome = await tab.evaluate(sync)
  assert.equal(outcome.code, undefined, JSON.stringify(outcome))
  assert.ok(server.requests.length < 20, `${server.requests.length} requests for two pages`)

  async function look() {
    const seen = await tab.evaluate((names) => ({
      good: window.rows.list().filter(({ id }) => id.startsWith('good-')).map(({ id }) => id),
      bad: Object.fromEntries(names.map((id) => [id, window.rows.get(id) === undefined ? null : JSON.stringify(window.rows.get(id))])),
      others: window.rows.list().map(({ id }) => id).filter((id) => !id.startsWith('good-') && !names.includes(id)),
      polluted: {}.polluted !== undefined,
    }), ids)
    assert.deepEqual(seen.good.sort(), wanted)
    assert.deepEqual(seen.others, [])
    assert.equal(seen.polluted, false)
    for (const { name, id, exact } of BAD_ROWS) {
      if (id === undefined || seen.bad[id] === null) continue
      assert.ok(exact, `the row with ${name} was taken in: ${seen.bad[id].slice(0, 200)}`)
      const { id: _id, _updatedAt, _rev, ...own } = JSON.parse(seen.bad[id])
      assert.equal(JSON.stringify(own), JSON.stringify(exact), name)
    }
  }
  await look()
  // What was left out is remembered or forgotten, but it neither comes back by a reload nor stops the next sync.
  await tab.reload()
  await whenReady(tab)
  await tab.evaluate(openDatabase, { name: 'bad-rows', url: server.url })
  await look()
  server.requests.length = 0
  server.answer((asked) => answerPage({ asked, records: asked.cursor === null ? [...records, goodRow(70), goodRow(90)] : [goodRow(90)], rev: 100 }))
  const next = await tab.evaluate(sync)
  assert.equal(next.code, undefined, JSON.stringify(next))
  assert.ok(server.requests.length < 20, `${server.requests.length} requests for one page`)
  assert.equal(await tab.evaluate(() => window.rows.get('good-90')?.n), 90)
  await tab.close()
})

test('collections with names of the prototype are plain names or left out', { timeout: 60_000 }, async () => {
  const changes = ['__proto__', 'constructor', 'toString', '', 'x'.repeat(500), '\\u0000', 'fine'].map((name, index) => `{"collection":"${name}","records":[${goodRow(index + 1)}]}`)
  server.answer((asked) => answerPage({ asked, changes: `[${changes.join(',')}]`, rev: 60 }))
  const tab = await openPage('bad-names')
  const outcome = await tab.evaluate(sync)
  assert.equal(outcome.code, undefined, JSON.stringify(outcome))
  assert.equal(await tab.evaluate(() => window.db.collection('fine').count()), 1)
  assert.deepEqual(await tab.evaluate(() => [{}.id, Object.prototype.id, typeof {}.toString].map(String)), ['undefined', 'undefined', 'function'])
  await tab.close()
})

for (const [name, body] of [
  ['HTML', '<!doctype html><p>Bad gateway'],
  ['nothing', ''],
  ['JSON cut short', answerPage({ records: [goodRow(1), goodRow(2)] }).slice(0, -40)],
  ['null', 'null'],
  ['an array', '[]'],
  ['another protocol', answerPage({ records: [goodRow(1)] }).replace('"protocol":1', '"protocol":99')],
  ['changes that are no list', answerPage({ changes: '{"rows":1}' })],
  ['records that are no list', answerPage({ changes: '[{"collection":"rows","records":{"id":"x"}}]' })],
  ['a cursor that is no text', answerPage({ records: [goodRow(1)] }).replace(/"cursor":"[^"]*"/, '"cursor":{}')],
  ['nesting of 100,000', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
]) {
  test(`an answer that is ${name}: an error with a code, nothing applied, the write stays queued`, { timeout: 60_000 }, async () => {
    server.answer(() => body)
    const tab = await openPage(`bad-answer-${name}`)
    await tab.evaluate(() => window.rows.insert({ id: 'mine', n: 1 }).then(() => null))
    const outcome = await tab.evaluate(sync)
    assert.equal(outcome.isHomingError, true, JSON.stringify(outcome))
    assert.ok(['bad-response', 'protocol-unsupported'].includes(outcome.code), JSON.stringify(outcome))
    const left = await tab.evaluate(() => ({ rows: window.rows.list().map(({ id }) => id), queue: window.db.queue.list().map(({ recordId }) => recordId) }))
    assert.deepEqual(left, { rows: ['mine'], queue: ['mine'] })
    // The server is well again: the same write goes out.
    server.answer((asked) => answerPage({ asked, records: [goodRow(5)], rev: 60 }))
    const healed = await tab.evaluate(sync)
    assert.equal(healed.code, undefined, JSON.stringify(healed))
    assert.deepEqual(await tab.evaluate(() => [window.rows.get('good-5')?.n, window.rows.get('mine')?.n, window.db.queue.list().length]), [5, 1, 0])
    await tab.close()
  })
}

test('results for mutations that were never sent change nothing', { timeout: 60_000 }, async () => {
  server.answer((asked) => answerPage({ asked }).replace('"results":[', '"results":[{"id":"somebody:1","status":"rejected","code":"x"},{"id":"not an id","status":"applied","rev":5},{"id":"","status":"conflict"},'))
  const tab = await openPage('foreign-results')
  await tab.evaluate(() => window.rows.insert({ id: 'mine', n: 1 }).then(() => null))
  const outcome = await tab.evaluate(sync)
  const state = await tab.evaluate(() => ({ rows: window.rows.list().map(({ id }) => id), dead: window.db.deadLetters.list().length, conflicts: window.db.conflicts.list().length }))
  assert.deepEqual(state, { rows: ['mine'], dead: 0, conflicts: 0 }, JSON.stringify(outcome))
  await tab.close()
})

test('none of this made a page complain', () => {
  assert.deepEqual(browser.problems, [])
})

test('an address that redirects is named where the push gets lost on the way, and used where it does not', { timeout: 60_000 }, async () => {
  for (const [status, code] of [[301, 'bad-response'], [302, 'bad-response'], [307, undefined], [308, undefined]]) {
    const location = `${server.url}/elsewhere`
    server.answer((asked) => asked.path !== '/elsewhere' && asked.method === 'POST' ? { status, body: '', headers: { location } } : answerPage({ asked }))
    const tab = await openPage(`redirects-${status}`)
    await tab.evaluate(sync)
    await tab.evaluate(() => window.rows.insert({ id: 'mine' }))
    const outcome = await tab.evaluate(sync)
    assert.equal(outcome.code, code, JSON.stringify(outcome))
    if (code !== undefined) assert.match(outcome.message, /redirects/)
    assert.equal(await tab.evaluate(() => window.db.status.getSnapshot().pending), code === undefined ? 0 : 1)
    await tab.close()
  }
})
