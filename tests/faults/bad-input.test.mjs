// Records no app should write: through the public API each either comes back exactly as it went in, after a reload too, or is
// refused with a HomingError that names code and path, and nothing is written. What a hostile server sends is
// `bad-server.test.mjs`.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchBrowser } from '../support/browser.mjs'
import { serveBarePage, whenReady } from './bare-page.mjs'

// Each case: a source text that evaluates in the page to the record; what may happen to it. `code` is the refusal that the
// case must meet, with the path where one exists; `exact` must round-trip; without both, either is right.
const CASES = [
  { name: 'null', source: 'null', code: 'invalid-record' },
  { name: 'undefined', source: 'undefined', code: 'invalid-record' },
  { name: 'a number', source: '7', code: 'invalid-record' },
  { name: 'a string', source: '"flock"', code: 'invalid-record' },
  { name: 'an array', source: '[{ id: "a" }]', code: 'invalid-record' },
  { name: 'a Map itself', source: 'new Map([["a", 1]])', refused: true },
  { name: 'a Date itself', source: 'new Date(0)', refused: true },
  { name: 'an instance of a class', source: 'new (class { id = "instance" })()', code: 'invalid-record', path: '' },
  { name: 'an instance of a class without an id', source: 'new (class { n = 1 })()', refused: true },
  { name: 'a function', source: '() => ({ id: "a" })', code: 'invalid-record' },
  { name: 'id null', source: '({ id: null, n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'id a number', source: '({ id: 5, n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'id empty', source: '({ id: "", n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'id of 129 characters', source: '({ id: "x".repeat(129), n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'id with a control character', source: '({ id: "a\\u0000b", n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'id with a lone surrogate', source: '({ id: "a\\ud800", n: 1 })', path: '/id' , refused: true },
  { name: 'id an object', source: '({ id: { a: 1 }, n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'id reserved for Homing', source: '({ id: "$singleton", n: 1 })', code: 'invalid-id', path: '/id' },
  { name: 'NaN', source: '({ id: "nan", deep: { n: [1, NaN] } })', code: 'invalid-record', path: '/deep/n/1' },
  { name: 'Infinity', source: '({ id: "inf", n: -Infinity })', code: 'invalid-record', path: '/n' },
  { name: 'an integer beyond 2^53-1', source: '({ id: "big", n: 9007199254740993 })', code: 'invalid-record', path: '/n' },
  { name: 'a number as large as an integer cannot be exact', source: '({ id: "huge", n: 1e300 })', path: '/n' },
  { name: 'BigInt', source: '({ id: "bigint", n: 1n })', code: 'invalid-record', path: '/n' },
  { name: 'a cyclic object', source: '(() => { const o = { id: "cycle", a: {} }; o.a.back = o; return o })()', code: 'invalid-record', refused: true },
  { name: 'depth 5,000', source: '(() => { let o = {}; const top = { id: "deep", o }; for (let i = 0; i < 5000; i++) { o.o = {}; o = o.o } return top })()', code: 'invalid-record', refused: true },
  { name: 'arrays of depth 5,000', source: '(() => { let a = []; const top = { id: "deep-array", a }; for (let i = 0; i < 5000; i++) { const b = []; a.push(b); a = b } return top })()', code: 'invalid-record', refused: true },
  { name: 'an own __proto__', source: 'JSON.parse(`{"id":"proto","__proto__":{"polluted":true},"n":1}`)' },
  { name: 'an own __proto__ further down', source: 'JSON.parse(`{"id":"proto2","a":[{"__proto__":{"polluted":true}}]}`)' },
  { name: 'members constructor and prototype', source: '({ id: "ctor", constructor: { prototype: { polluted: true } }, prototype: 1, toString: "text", hasOwnProperty: 1 })' },
  { name: 'a lone surrogate', source: '({ id: "surrogate", text: "a\\ud800b" })' },
  { name: 'a lone surrogate as a member name', source: '({ id: "surrogate-key", ["k\\udc00"]: 1 })' },
  { name: 'a getter that throws', source: '({ id: "getter", get boom() { throw new Error("boom") } })', code: 'invalid-record', refused: true },
  { name: 'a Proxy that throws', source: 'new Proxy({ id: "proxy" }, { ownKeys() { throw new Error("trap") } })', code: 'invalid-record', refused: true },
  { name: 'a Proxy that behaves', source: 'new Proxy({ id: "proxy-good", n: 1 }, {})' },
  { name: 'a revoked Proxy', source: '(() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy })()', code: 'invalid-record', refused: true },
  { name: 'toJSON that throws', source: '({ id: "tojson", toJSON() { throw new Error("no") } })', refused: true },
  { name: 'a symbol as value', source: '({ id: "symbol", s: Symbol("s") })', path: '/s', refused: true },
  { name: 'a function as value', source: '({ id: "function", f() {} })', path: '/f', refused: true },
  { name: 'a Map', source: '({ id: "map", m: new Map([[1, 2]]) })', path: '/m', refused: true },
  { name: 'a Date', source: '({ id: "date", d: new Date(NaN) })', path: '/d', refused: true },
  { name: 'an array with a hole', source: '({ id: "hole", a: [1, , 3] })', path: '/a/1', refused: true },
  { name: 'more than 1 MiB', source: '({ id: "large", text: "x".repeat(1100000) })', code: 'too-large', refused: true },
  { name: 'every kind of JSON value', source: '({ id: "all", a: null, b: true, c: false, d: 0.1, e: -5, f: 1.5e-300, g: 5e-324, h: "", i: [], j: {}, k: [[[]]], l: "\\u2028\\u2029\\u0001\\u007f", m: "🐔é𝔘", "": 1, "a/b~c": 2, "0": 3 })', exact: true },
  { name: 'depth 50', source: '(() => { let o = { leaf: 1 }; for (let i = 0; i < 48; i++) o = { o }; return { id: "fifty", o } })()', exact: true },
  { name: '2^53-1', source: '({ id: "max", n: 9007199254740991, m: -9007199254740991 })', exact: true },
]

let site
let browser
let page
before(async () => {
  site = await serveBarePage()
  browser = await launchBrowser()
  page = await whenReady(await browser.open(site.url))
  await page.evaluate(openHostile)
})
after(async () => {
  await browser?.close()
  await site?.close()
})

// Runs in the page.
async function openHostile() {
  window.db = await window.homing.openDatabase({ name: 'hostile', sync: { url: 'http://127.0.0.1:9', auto: false } })
  window.rows = window.db.collection('rows')
}

// Runs in the page: tries to insert and to put, alone and in a batch; what came of it, in words that survive the way to the test.
async function tryRecord(source) {
  const { rows, db } = window
  const shape = () => ({ rows: rows.count(), queue: db.queue.list().length })
  const inBatch = (verb) => (record) => {
    let write
    const batch = db.batch((tx) => { write = tx.collection('rows')[verb](record) })
    return Object.assign(batch.then(() => write), { settled: batch.settled.then(([verdict]) => verdict) })
  }
  const verbs = { insert: (record) => rows.insert(record), put: (record) => rows.put(record), 'insert in a batch': inBatch('insert'), 'put in a batch': inBatch('put') }
  const attempt = async (verb) => {
    const record = (0, eval)(source)
    const before = shape()
    let write
    try {
      write = verbs[verb](record)
    } catch (error) {
      return { verb, thrown: String(error) }
    }
    try {
      const row = await write
      const expected = JSON.parse(JSON.stringify(record))
      const { _updatedAt, _deletedAt, _rev, ...own } = row
      const id = row.id
      const same = JSON.stringify(own) === JSON.stringify({ ...expected, id: own.id }) || sameMembers(own, expected)
      const plain = Object.getPrototypeOf(row) === Object.prototype
      await rows.delete(id)
      return { verb, accepted: true, same, plain, shown: JSON.stringify(own).slice(0, 300) }
    } catch (error) {
      const verdict = await write.settled
      return {
        verb, code: error?.code, path: error?.path, message: error?.message, isHomingError: error instanceof window.homing.HomingError,
        written: JSON.stringify(shape()) !== JSON.stringify(before), verdict: verdict?.status,
      }
    }
  }
  function sameMembers(a, b) {
    if (Object.is(a, b)) return true
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
    const keys = Object.keys(a)
    return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameMembers(a[key], b[key]))
  }
  const outcomes = []
  for (const verb of Object.keys(verbs)) outcomes.push(await attempt(verb))
  return { outcomes, polluted: {}.polluted !== undefined || Object.prototype.polluted !== undefined }
}

for (const { name, source, code, path, exact, refused } of CASES) {
  test(`a record that is ${name}`, { timeout: 30_000 }, async () => {
    const { outcomes, polluted } = await page.evaluate(tryRecord, source)
    assert.equal(polluted, false, 'a prototype was polluted')
    for (const outcome of outcomes) {
      const seen = JSON.stringify(outcome)
      assert.equal(outcome.thrown, undefined, `no method throws synchronously: ${seen}`)
      if (outcome.accepted) {
        assert.ok(code === undefined && !refused, `it must be refused: ${seen}`)
        assert.ok(outcome.same, `it came back changed: ${seen}`)
        assert.ok(outcome.plain, 'rows are plain objects')
        continue
      }
      assert.ok(!exact, `it must be accepted: ${seen}`)
      assert.equal(outcome.isHomingError, true, seen)
      assert.equal(outcome.written, false, `something was written: ${seen}`)
      assert.ok(outcome.message?.length > 5, seen)
      if (code !== undefined) assert.equal(outcome.code, code, seen)
      if (path !== undefined) assert.equal(outcome.path, path, seen)
    }
  })
}

test('update, batch and saveDocument refuse the same way, and nothing is written', async () => {
  const outcomes = await page.evaluate(async () => {
    const { db, rows } = window
    await rows.insert({ id: 'good', n: 1 })
    const before = JSON.stringify([rows.list(), db.queue.list()])
    const tries = {
      update: () => rows.update('good', { n: NaN }),
      updater: () => rows.update('good', () => { throw new Error('in the updater') }),
      notFound: () => rows.update('nowhere', { n: 1 }),
      insertMany: () => rows.insertMany([{ id: 'm1' }, { id: 'm2', n: 1n }]),
      batch: () => db.batch((tx) => { tx.collection('rows').insert({ id: 'b1' }); tx.collection('rows').insert({ id: 'b2', n: NaN }) }),
      batchThrows: () => db.batch((tx) => { tx.collection('rows').insert({ id: 'b3' }); throw new Error('in the batch') }),
      saveDocument: () => db.saveDocument({ rows: [{ id: 's1', n: Infinity }] }),
      saveNonObject: () => db.saveDocument(null),
    }
    const outcomes = {}
    for (const [name, work] of Object.entries(tries)) {
      try {
        await work()
        outcomes[name] = 'accepted'
      } catch (error) {
        outcomes[name] = { code: error?.code, path: error?.path ?? null, isHomingError: error instanceof window.homing.HomingError, message: String(error?.message) }
      }
    }
    return { outcomes, unchanged: JSON.stringify([rows.list(), db.queue.list()]) === before }
  })
  for (const [name, outcome] of Object.entries(outcomes.outcomes)) {
    assert.notEqual(outcome, 'accepted', name)
    // The app's own error in a batch is the app's.
    if (name !== 'batchThrows' && name !== 'updater') assert.equal(outcome.isHomingError, true, `${name}: ${JSON.stringify(outcome)}`)
  }
  assert.equal(outcomes.outcomes.update.path, '/n')
  assert.equal(outcomes.outcomes.notFound.code, 'not-found')
  assert.equal(outcomes.unchanged, true, JSON.stringify(outcomes.outcomes))
})

test('after all that the page works, and a reload shows exactly what was accepted', async () => {
  await page.evaluate(() => window.rows.insert({ id: 'last', text: 'a\u2028b🐔' }))
  const before = await page.evaluate(() => JSON.stringify(window.rows.list()))
  await page.reload()
  await whenReady(page)
  await page.evaluate(openHostile)
  assert.equal(await page.evaluate(() => JSON.stringify(window.rows.list())), before)
  assert.deepEqual(browser.problems, [])
})
