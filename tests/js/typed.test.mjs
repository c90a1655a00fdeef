// Typed fields as an app sees them: plain numbers, arrays and texts. How they merge is the business of `core::merge`; here is that
// the declaration reaches the engine, that what is written reads back as it should, and that two tabs of one page agree.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

let site
let page

before(async () => {
  site = await openSite()
  page = await site.open()
})
after(async () => {
  assert.deepEqual(site.problems, [])
  await site.close()
})

const collections = { houses: { fields: { eggs: 'counter', tags: 'set', log: 'text', peak: 'max', first: 'min' } }, settings: { singleton: true, groups: [['lat', 'lon']] } }

test('typed fields read and write as plain values, also after a reload and in another tab', async () => {
  const write = ({ collections }) => openDatabase({ name: 'typed', collections }).then(async (db) => {
    const houses = db.collection('houses')
    const row = await houses.insert({ id: 'h', eggs: 10, tags: ['new', 'a', 'new'], log: 'one', peak: 5, first: '2024-05-01' })
    await Promise.all(Array.from({ length: 20 }, () => houses.update('h', (row) => ({ eggs: row.eggs + 1 }))))
    await houses.update('h', (row) => ({ tags: [...row.tags, 'b'], peak: 3, first: '2024-04-01', log: `${row.log} two` }))
    const seen = houses.get('h')
    await db.close()
    return { row, seen }
  })
  const { row, seen } = await page.evaluate(write, { collections })
  assert.deepEqual(row.tags, ['a', 'new'], 'a set has each element once, sorted')
  const other = await site.open()
  const there = await other.evaluate(({ collections }) => openDatabase({ name: 'typed', collections }).then(async (db) => {
    const row = db.collection('houses').get('h')
    await db.wipe({ discardPending: true })
    return row
  }), { collections })
  for (const version of [seen, there]) {
    const { eggs, tags, log, peak, first } = version
    assert.deepEqual({ eggs, tags, log, peak, first }, { eggs: 30, tags: ['a', 'b', 'new'], log: 'one two', peak: 5, first: '2024-04-01' })
  }
  await other.close()
})

test('a value that its type cannot hold is refused with its path, and nothing is written', async () => {
  const result = await page.evaluate(async ({ collections }) => {
    const db = await openDatabase({ name: 'typed-bad', collections })
    const houses = db.collection('houses')
    await houses.insert({ id: 'h', eggs: 1, tags: [] })
    const failures = []
    for (const change of [{ eggs: 'many' }, { tags: 'a' }, { log: 7 }, { peak: true }]) {
      failures.push(await houses.update('h', change).then(() => null, ({ code, path }) => [code, path]))
    }
    const left = [houses.get('h').eggs, houses.get('h').tags]
    await houses.update('h', { eggs: null, log: null })
    await db.wipe({ discardPending: true })
    return { failures, left }
  }, { collections })
  assert.deepEqual(result.failures, [['invalid-record', '/eggs'], ['invalid-record', '/tags'], ['invalid-record', '/log'], ['invalid-record', '/peak']])
  assert.deepEqual(result.left, [1, []])
})

test('a declaration that cannot be followed is refused at opening', async () => {
  const codes = await page.evaluate(async () => {
    const open = (collection) => openDatabase({ name: `typed-${crypto.randomUUID()}`, collections: { houses: collection } }).then(() => null, ({ code, path }) => [code, path])
    return [await open({ fields: { _rev: 'counter' } }), await open({ groups: [['a', 'b'], ['b', 'c']] }), await open({ fields: { a: 'set' }, groups: [['a', 'b']] })]
  })
  assert.deepEqual(codes, [['invalid-record', '/collections/houses/fields'], ['invalid-record', '/collections/houses/groups'], ['invalid-record', '/collections/houses/groups']])
})
