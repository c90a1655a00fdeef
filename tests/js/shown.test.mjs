// New records are shown as the page made them, not as the engine reads them back: here both are compared, and what may come in between.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openSite } from './page.mjs'

const IN_WORKER = process.env['HOMING_WORKER'] === '1'

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

test('a new record of any shape is shown as it is stored, its members in the same order, one object everywhere', async () => {
  const wrong = await page.evaluate(async (inWorker) => {
    let seed = 1
    const below = (n) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) / 2 ** 32 * n | 0
    const one = (list) => list[below(list.length)]
    const value = (depth) => one([
      () => -0, () => 0, () => below(9) / 4, () => 5e-324, () => '', () => 'é"\\\n\u2028😀', () => true, () => null, () => 123456789012345,
      () => (depth > 0 ? { b: value(depth - 1), 2: value(depth - 1), a: value(depth - 1) } : {}),
      () => (depth > 0 ? [value(depth - 1) ?? 1, -0] : []),
    ])()
    const record = (id) => {
      const members = {}
      const names = ['name', '10', '2', 'constructor', '_note', '_rev', '_updatedAt', '_deletedAt', '_crdt', 'ünïcode', 'with "quotes"', '']
      for (const name of names) if (below(4) === 0) members[name] = below(5) === 0 ? undefined : name.startsWith('_') ? one([undefined, 'x', 7]) : value(2)
      return below(3) === 0 ? { ...members, id } : { id, ...members }
    }
    const collections = { lww: {}, here: { sync: false }, fields: { merge: 'fields' }, facts: { merge: 'append-only' }, typed: { fields: { name: 'text' } } }
    const options = { name: 'shapes', collections, sync: { url: '/nowhere', auto: false } }
    const wrong = []
    const note = (what, ...more) => { if (wrong.length < 5) wrong.push([what, ...more]) }
    const seen = []
    let db = await openDatabase(options)
    for (const name of Object.keys(collections)) {
      const c = db.collection(name)
      if (below(2) === 0) c.list()
      for (let n = 0; n < 60; n++) {
        const id = below(9) === 0 ? undefined : `${name}-${n}`
        const given = n % 5 === 4 ? [record(id), record(`${name}-${n}b`)] : record(id)
        if (name === 'typed') for (const each of [given].flat()) if (typeof each.name !== 'string') each.name = 'text'
        const write = Array.isArray(given) ? c.insertMany(given) : c.insert(given)
        const atOnce = below(2) === 0 ? write.record : null
        let shown
        try {
          shown = await write
        } catch (error) {
          note('refused', name, error.message)
          continue
        }
        if (atOnce !== null && (Array.isArray(given) ? atOnce.some((row, at) => row !== shown[at]) : atOnce !== shown)) note('another object', name, n)
        for (const row of [shown].flat()) {
          // In a worker mode page a row with hidden members is shown before these are known.
          const exact = !inWorker || (name !== 'fields' && name !== 'typed')
          if (exact && (c.get(row.id) !== row || !c.list().includes(row))) note('not the row', name, n)
          seen.push([name, row.id, exact ? JSON.stringify(row) : null])
          const deep = (v) => typeof v !== 'object' || v === null || (Object.isFrozen(v) && Object.values(v).every(deep))
          if (!deep(row)) note('not frozen', name, n)
        }
      }
    }
    await db.close()
    db = await openDatabase(options)
    for (const [name, id, text] of seen) {
      const stored = JSON.stringify(db.collection(name).get(id))
      if (text !== null && stored !== text) note('differs', text, stored)
    }
    await db.wipe({ discardPending: true })
    return { wrong, seen: seen.length }
  }, IN_WORKER)
  assert.deepEqual(wrong, { wrong: [], seen: 360 })
})

test('what follows in the same breath is shown, and each write keeps the record that it made', async () => {
  const seen = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'breath' })
    const c = db.collection('c')
    c.list()
    const made = c.insert({ id: 'a', n: 1 })
    const many = c.insertMany([{ id: 'b', n: 1 }, { id: 'c', n: 1 }, { id: 'd', n: 1 }])
    const updated = c.update('b', { n: 2 })
    const gone = c.delete('c')
    const again = c.insert({ id: 'c', n: 3 })
    const put = c.put({ id: 'd', n: 4 })
    const batch = db.batch((tx) => tx.collection('c').update('a', { n: 5 }))
    const last = c.insert({ id: 'e', n: 6 })
    const now = c.list().map(({ id, n }) => `${id}${n}`).sort().join()
    const rows = await Promise.all([made, many, updated, again, put, last])
    await Promise.all([gone, batch])
    const records = rows.flat().map(({ id, n }) => `${id}${n}`).join()
    await db.close()
    const other = await openDatabase({ name: 'breath' })
    const stored = other.collection('c').list().map(({ id, n }) => `${id}${n}`).sort().join()
    await other.wipe()
    return { now, stored, records }
  })
  assert.deepEqual(seen, { now: 'a5,b2,c3,d4,e6', stored: 'a5,b2,c3,d4,e6', records: 'a1,b1,c1,d1,b2,c3,d4,e6' })
})

test('a write keeps the record that it made when another one under its id is refused', async () => {
  const seen = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'duplicates' })
    const c = db.collection('c')
    const out = []
    for (const again of [() => c.insert({ id: 'x', n: 2 }), () => c.insertMany([{ id: 'x', n: 2 }]), () => db.batch((tx) => tx.collection('c').insert({ id: 'x', n: 2 }))]) {
      const first = c.insert({ id: 'x', n: 1 })
      const refused = failure(again())
      const third = c.update('x', { n: 3 })
      out.push([(await first).n, (await refused).code, (await third).n, first.record.n])
      await c.delete('x')
    }
    await db.wipe()
    return out
  })
  assert.deepEqual(seen, Array(3).fill([1, 'duplicate-id', 3, 1]))
})

test('thousands of new records are shown at once, told once, stored as they were given, and stand in the order of the writes around them', async () => {
  const seen = await page.evaluate(async () => {
    const options = { name: 'thousands', collections: { c: {} } }
    let db = await openDatabase(options)
    const c = db.collection('c')
    const make = (from, count) => Array.from({ length: count }, (_, n) => ({ id: `r${from + n}`, n: from + n, deep: { list: [from + n] } }))
    const told = []
    c.subscribe(({ added, updated, removed }) => told.push([added.length, updated.length, removed.length]))
    await c.insert({ id: 'r5', n: 'was here' })
    const [first, second, refused] = [make(1000, 2000), make(3000, 1500), make(0, 600)]
    const writes = [c.insertMany(first)]
    const early = c.get('r2500')?.n
    writes.push(c.insertMany(second))
    for (const row of first) row.deep.list.push('changed by the app later')
    first.length = 0
    const bad = c.insertMany(refused)
    const one = c.insert({ n: 'behind' })
    const updated = c.update('r4000', { n: -1 })
    const now = [c.count(), c.get('r1000').deep.list.length, c.get('r4000').n, writes[0].record.length, writes[1].record.at(-1).n, Object.isFrozen(c.get('r2999'))]
    const same = c.get('r1500') === writes[0].record[500]
    const code = (await failure(bad)).code
    await Promise.all([one, updated])
    const shown = c.list()
    const kept = (await writes[0])[500] === c.get('r1500')
    const after = [c.count(), c.get('r5').n, c.get('r599')]
    // Nobody looks, and the page closes at once.
    c.insertMany(make(5000, 6000)).catch(() => {})
    await db.close()
    db = await openDatabase(options)
    const rows = db.collection('c').list()
    const stored = [rows.length, rows.filter(({ id, n, deep }) => deep?.list.length === 1 && deep.list[0] === Number(id.slice(1)) && (n === deep.list[0] || id === 'r4000')).length, db.collection('c').get('r4000').n]
    const inOrder = (list) => list.slice(1).every(({ id, n }, at) => (at === 3500 ? n === 'behind' : id === `r${at < 3500 ? 1000 + at : 1499 + at}`))
    await db.wipe()
    return { early, now, same, kept, code, after, stored, order: [inOrder(shown), inOrder(rows)], told }
  })
  assert.equal(seen.early, 2500)
  assert.deepEqual([seen.now, seen.same, seen.kept, seen.code], [[IN_WORKER ? 4101 : 3502, 1, -1, 2000, 4499, true], true, true, 'duplicate-id'])
  assert.deepEqual([seen.after, seen.stored, seen.order], [[3502, 'was here', undefined], [9502, 9500, -1], [true, true]])
  const sum = (at) => seen.told.reduce((total, change) => total + change[at], 0)
  assert.deepEqual([sum(0) - sum(2), seen.told.length <= 7], [9502, true], JSON.stringify(seen.told))
})

test('one record that cannot be stored among thousands: refused with its place, nothing of them stays', async () => {
  const seen = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'one-of-thousands' })
    const c = db.collection('c')
    const told = []
    c.subscribe(({ added, removed }) => told.push(added.length, -removed.length))
    const make = (wrong) => Array.from({ length: 12_000 }, (_, n) => ({ id: `r${n}`, deep: [n === 11_345 ? wrong : n] }))
    const errors = []
    for (const no of [null, undefined, 'text', { length: 700 }, Proxy.revocable([], {})]) {
      no?.revoke?.()
      errors.push(await failure(c.insertMany(no?.proxy ?? no)))
    }
    for (const wrong of ['half \ud83d of it', NaN, 1n, undefined]) errors.push(await failure(c.insertMany(make(wrong))))
    const looked = c.insertMany(make('\udc00'))
    const atOnce = [c.count(), looked.record?.length ?? 0]
    errors.push(await failure(looked))
    const count = c.count()
    const rows = await c.insertMany(make('C:\\udata'))
    const stored = [rows.length, c.count(), c.get('r11345').deep[0]]
    await db.wipe()
    return { errors: errors.map(({ code, path }) => [code, path]), atOnce, count, stored, told: told.reduce((sum, n) => sum + n, 0) }
  })
  assert.deepEqual(seen.errors, [...Array.from({ length: 5 }, () => ['invalid-record', '']), ...Array.from({ length: 5 }, () => ['invalid-record', '/11345/deep/0'])])
  assert.deepEqual([seen.atOnce, seen.count, seen.stored, seen.told], [[0, 0], 0, [12_000, 12_000, 'C:\\udata'], 12_000])
})

test('what was here before under an id comes before what is new under it', async () => {
  const seen = await page.evaluate(async () => {
    const db = await openDatabase({ name: 'discarded', collections: { c: {}, fields: { merge: 'fields' } }, sync: { url: '/nowhere', auto: false } })
    const [c, fields] = ['c', 'fields'].map((name) => db.collection(name))
    c.list()
    await c.insert({ id: 'a', n: 1 })
    const told = []
    c.subscribe(({ added, updated, removed }) => told.push([...[added, updated].map((rows) => rows.map(({ id, n }) => `${id}${n ?? ''}`).join()), removed.map((row) => row.id ?? row).join()]))
    let times = 0
    fields.subscribe(() => { times++ })
    const [{ id }] = db.queue.list()
    const discarded = db.queue.discard(id)
    const again = c.insert({ id: 'a', n: 2 })
    for (let n = 0; n < 100; n++) {
      c.insert({ id: `b${n}` })
      fields.insert({ id: `f${n}` })
    }
    const now = c.get('a')?.n
    const pending = db.queue.list().length
    await Promise.all([discarded, again, c.insert({ id: 'z' })])
    const later = c.list().filter((row) => !row.id.startsWith('b')).map((row) => `${row.id}${row.n ?? ''}`)
    await db.wipe({ discardPending: true })
    return { now, pending, later, times, told: told.map((change) => change.map((rows) => rows.replace(/b.*b99/, 'b0 to b99'))) }
  })
  assert.deepEqual(seen.later, ['a2', 'z'])
  // The page of a worker knows only later that the first one is gone.
  if (!IN_WORKER) assert.deepEqual([seen.now, seen.pending, seen.times, seen.told], [2, 201, 1, [['b0 to b99', 'a2', ''], ['z', '', '']]])
})

test('another tab was faster: what is planned again is shown with the stamp that it got', async () => {
  const other = await site.open()
  const insert = ({ id, wait }) => window.db.collection('c').insert({ id }).then(() => wait)
  for (const tab of [page, other]) await tab.evaluate(async () => { window.db = await openDatabase({ name: 'race' }); window.db.collection('c').list() })
  for (let n = 0; n < 20; n++) await Promise.all([page, other].map((tab, at) => tab.evaluate(insert, { id: `${n}-${at}` })))
  const rows = ({ all }) => all ? window.db.collection('c').list().map((row) => JSON.stringify(row)).sort() : null
  const here = await page.evaluate(rows, { all: true })
  for (const tab of [page, other]) await tab.evaluate(async () => { await window.db.close(); window.db = await openDatabase({ name: 'race' }) })
  const stored = await page.evaluate(rows, { all: true })
  assert.equal(stored.length, 40)
  assert.deepEqual(here.filter((row) => !stored.includes(row)), [])
  await other.close()
  await page.evaluate(() => window.db.wipe())
})

test('a write that is planned again before anybody looked is read back: storage refused the one before it', { skip: IN_WORKER && 'the page cannot reach into the worker' }, async () => {
  const again = (hops) => page.evaluate(async (hops) => {
    const db = await openDatabase({ name: `again ${hops}` })
    const c = db.collection('c')
    await c.insert({ id: 'first' })
    c.list()
    const { add } = IDBObjectStore.prototype
    const { preventDefault } = Event.prototype
    IDBObjectStore.prototype.add = function (...given) {
      IDBObjectStore.prototype.add = add
      const request = add.apply(this, given)
      this.transaction.abort()
      return request
    }
    let late
    let made
    // The engine hears of the abort, and before it takes that in, the app writes; then a while goes by.
    Event.prototype.preventDefault = function () {
      if (this.type === 'abort') {
        Event.prototype.preventDefault = preventDefault
        const write = (left) => {
          if (left > 0) return queueMicrotask(() => write(left - 1))
          late = c.insert({ id: 'late' })
          made = Date.now()
          while (Date.now() < made + 20) {}
        }
        queueMicrotask(() => write(hops))
      }
      return preventDefault.call(this)
    }
    const refused = await failure(c.insert({ id: 'refused' }))
    while (late === undefined) await null
    await late
    const shown = JSON.stringify(c.list())
    await db.close()
    const other = await openDatabase({ name: `again ${hops}` })
    const stored = JSON.stringify(other.collection('c').list())
    const stamp = Date.parse(other.collection('c').get('late')._updatedAt)
    await other.wipe()
    return { refused: refused.code, shown, stored, again: stamp >= made + 20 }
  }, hops)
  // How many steps the engine takes from the abort to the new plan is its own affair: written before each of them.
  const seen = []
  for (let hops = 0; hops < 8; hops++) seen.push(await again(hops))
  for (const { refused, shown, stored } of seen) {
    assert.equal(refused, 'storage-unavailable')
    assert.equal(shown, stored)
  }
  assert.ok(seen.some(({ again }) => again), 'planned again, the record has another stamp')
})
