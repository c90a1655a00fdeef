// The pure half of worker mode: ids of imported rows, lists as differences, and the mirror that shows writes before the worker has
// planned them.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { digest, keys, lists, mirror, packed, slot, batch, naming, remote } = modules

/** Numbers from a seed, so that a failure comes again. */
const randomFrom = (seed) => naming.randomFrom(seed / 2 ** 32)

/** Texts as they cross. */
function inPiece(texts) {
  let end = 0
  const lines = texts.map((text) => Buffer.from(`${text}\n`))
  return { texts: new Uint8Array(Buffer.concat(lines)), ends: Uint32Array.from(lines, ({ length }) => (end += length)) }
}

/** As `digest` in `src/core/schema.rs`. */
function expected(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) {
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(Buffer.byteLength(part)))
    hash.update(length).update(part)
  }
  return hash.digest('hex').slice(0, 32)
}

test('an imported row is named after its canonical content, and after how many there were before it', () => {
  for (const parts of [[''], ['a', 'bc'], ['ab', 'c'], ['größe ✓', 'x'.repeat(200)]]) assert.equal(digest.digest(...parts), expected(...parts))
  const [times, text] = [new Map(), '{"b":[1.0,1e21,-0,{"z":null,"a":"\\u20ac\\n"}],"\\ud83d\\ude00":1,"\\ufb33":2,"a":true}']
  const content = expected('logs', '{"a":true,"b":[1,1e+21,0,{"a":"€\\n","z":null}],"😀":1,"\ufb33":2}')
  for (const n of ['1', '2']) assert.equal(digest.rowId('logs', JSON.parse(text), times), `$row_${expected(content, n)}`)
})

test('of the writes under a key the last thousand are remembered, as in the engine', () => {
  const remembered = new keys.Keys()
  for (let n = 0; n <= keys.REMEMBERED; n++) remembered.set(`key${n}`, n)
  assert.deepEqual([0, 1, keys.REMEMBERED].map((n) => remembered.get(`key${n}`)), [undefined, 1, 1000])
  remembered.set('key1', 'again')
  assert.deepEqual([remembered.get('key1'), remembered.get('key2')], ['again', 2])
  remembered.review((value) => (value === 2 ? null : value === 3 ? 'three' : value))
  assert.deepEqual(['key2', 'key3', 'key4'].map((key) => remembered.get(key)), [undefined, 'three', 4])
})

test('a list told as differences, or whole, is the list, whatever happens to it', () => {
  const random = randomFrom(7)
  const [told, page] = [new lists.ToldList(), new lists.MirroredList()]
  let list = []
  let [anew, silent, looks] = [0, 0, 0]
  const patched = new Map()
  const [n, bytes] = [({ n }) => n, (value) => new TextEncoder().encode(JSON.stringify(value))]
  for (let round = 0; round < 500; round++) {
    for (let n = Math.floor(random() * 3); n > 0; n--) {
      const at = Math.floor(random() * (list.length + 1))
      const draw = random()
      if (draw < 0.5) list = [...list, { id: `m${round}-${n}`, n: round }]
      else if (draw < 0.7) list = list.filter((_, one) => one !== at)
      else if (draw < 0.9) list = list.map((one, place) => (place === at ? { ...one, n: random() < 0.5 ? round : 0 } : one))
      else list = [...list.slice(0, at), { id: `between${round}-${n}`, n: 0 }, ...list.slice(at)]
    }
    const patchOf = ({ n }) => (n % 2 === round % 2 ? String(n) : undefined)
    if (random() < 0.1) {
      const patches = Object.fromEntries(list.flatMap((one) => (patchOf(one) === undefined ? [] : [[one.id, n(one)]])))
      told.toldWhole()
      page.takeWhole({ whole: bytes(list), patches: bytes(patches) })
      patched.clear()
      for (const [id, patch] of Object.entries(patches)) patched.set(id, String(patch))
    } else {
      const news = told.news(list, ({ id }) => id, patchOf)
      if (news?.anew) anew++
      if (news === null) silent++
      else {
        for (const part of lists.inParts(news, 2)) page.take(part)
        for (const { id, patch } of news.put) patch === undefined ? patched.delete(id) : patched.set(id, patch)
      }
    }
    // Sometimes nobody looks in between.
    if (random() < 0.5) continue
    looks++
    assert.equal(page.text, JSON.stringify(list))
    for (const one of list) assert.deepEqual([page.one(one.id), page.patch(one.id)], [JSON.stringify(one), patched.get(one.id)])
    assert.equal(page.one('nothing'), undefined)
  }
  assert.ok(anew > 10 && silent > 20 && looks > 200, `${anew} anew, ${silent} silent, ${looks} looks`)
})

test('whatever order news and answers come in: in the end the page shows what the worker has, and in between its own on top', () => {
  let [inserted, exacts] = [0, 0]
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomFrom(seed)
    const page = new mirror.Mirror()
    const worker = new Map()
    const waiting = []
    const shown = new Map()
    const ids = ['a', 'b', 'c']
    const see = (id, kind) => {
      const was = shown.has(id)
      const is = page.isLive(id)
      assert.equal(kind === 'added' ? !was && is : kind === 'updated' ? was && is : kind === 'removed' ? was && !is : was === is, true, `seed ${seed}: ${kind}`)
      if (kind === null && was) assert.ok(slot.sameSlot(shown.get(id), page.view(id)), `seed ${seed}: a change was not told`)
      if (is) shown.set(id, page.view(id))
      else shown.delete(id)
    }
    /** On top of what the page has heard lies what was written here and not answered, in its order. */
    const lies = (id, heard, left) => {
      const due = left.filter((one) => one.id === id).reduce((below, { step, at }) => modules.provisional.next(step, id, below, at), heard)
      assert.ok(slot.sameSlot(page.view(id), due), `seed ${seed}: ${id} shows something else`)
    }
    const set = (id, text) => { if (text === undefined) worker.delete(id); else worker.set(id, text) }
    let seq = 0
    for (let round = 0; round < 40; round++) {
      const id = ids[Math.floor(random() * ids.length)]
      const draw = random()
      if (draw < 0.1) {
        // One of many new records, which the page has made as it will be.
        const [step, at] = [{ op: 'insert', record: { id, n: round } }, 1000 + round]
        const row = modules.provisional.next(step, id, undefined, at)
        seq++
        if (page.insert(id, row, { seq, at })) {
          inserted++
          see(id, 'added')
          assert.equal(page.view(id), row)
        } else see(id, page.write(id, step, at, seq))
        waiting.push({ id, step, at, seq })
      } else if (draw < 0.45) {
        const step = [{ op: 'insert', record: { id, n: round } }, { op: 'put', record: { id, n: round % 3 }, said: 'all' }, { op: 'update', set: { n: round, m: 1 }, unset: ['x'] }, { op: 'delete' }, { op: 'undelete' }][Math.floor(random() * 5)]
        waiting.push({ id, step, at: 1000 + round, seq: ++seq })
        see(id, page.write(id, step, 1000 + round, seq))
      } else if (draw < 0.65) {
        // Another device: the worker's version changes below what waits.
        set(id, random() < 0.2 ? undefined : JSON.stringify({ id, theirs: round, _updatedAt: new Date(2000 + round).toISOString(), _deletedAt: random() < 0.2 ? 'x' : null, _rev: round }))
        see(id, page.receive(id, worker.get(id)))
        lies(id, worker.get(id), waiting)
      } else if (waiting.length > 0) {
        const { id: about, step, at, seq: one } = waiting.shift()
        const planned = random() < 0.7 ? modules.provisional.next(step, about, worker.get(about), at) : worker.get(about)
        // Of what is new the worker may say in a word that it became what was shown.
        const exact = step.op === 'insert' && worker.get(about) === undefined && planned !== undefined && random() < 0.5
        if (exact) exacts++
        set(about, planned)
        const done = page.drop(about, one, exact)
        if (done) assert.equal(page.settle(about), null, `seed ${seed}: more to settle`)
        if (!exact && planned !== undefined) see(about, page.receive(about, slot.textOf(planned)))
        see(about, page.settle(about))
        lies(about, worker.get(about), waiting)
      }
    }
    for (const { id, seq: one } of waiting) {
      page.drop(id, one, false)
      see(id, page.settle(id))
    }
    for (const id of ids) assert.ok(slot.sameSlot(page.view(id), worker.get(id)), `seed ${seed}: ${id}`)
    assert.equal(page.count, page.live().length)
  }
  assert.ok(inserted > 200 && exacts > 100, `${inserted} new, ${exacts} exact`)
})

test('rows of the opening are read from their pieces, tombstones too, until something else takes their place', () => {
  const page = new mirror.Mirror()
  const all = Array.from({ length: 2300 }, (_, n) => ({ id: `r${n}`, n, ...n % 3 === 0 && { text: 'ü\n"😀' }, _deletedAt: n % 100 === 7 ? '2026-01-01T00:00:00.000Z' : null }))
  for (let from = 0; from < all.length; from += 1000) {
    const rows = all.slice(from, from + 1000)
    const texts = rows.map((row) => JSON.stringify(row))
    page.fill({ ids: rows.map(({ id }) => id).join('\n'), ...inPiece(texts), dead: rows.flatMap(({ n }, at) => (n % 100 === 7 ? [at] : [])) })
  }
  const [dead, live] = [all.filter(({ _deletedAt: at }) => at !== null), all.filter(({ _deletedAt: at }) => at === null)]
  assert.deepEqual([page.count, page.live().map((text) => JSON.parse(text)), page.dead().map((text) => JSON.parse(text))], [live.length, live, dead])
  for (const row of all) assert.equal(page.view(row.id), JSON.stringify(row))
  assert.equal(page.receive('r1', JSON.stringify(all[1])), null, 'the same once more is no change')
  page.receive('r1', '{"id":"r1","n":-1}')
  page.rename([['r2', 'two']])
  assert.deepEqual([page.view('r1'), page.view('r2'), page.view('two'), page.live().length], ['{"id":"r1","n":-1}', undefined, JSON.stringify(all[2]), live.length])
  const own = { id: 'own', n: 0, _updatedAt: new Date(5).toISOString(), _deletedAt: null }
  page.insert('own', own, { seq: 1, at: 5 })
  assert.deepEqual([page.below('own'), page.below('r1')], [{ slot: undefined }, undefined])
  page.replace([...page.live().slice(0, -1), ...page.dead()].map((text) => [JSON.parse(text).id, text]))
  assert.deepEqual(page.view('own'), own, 'what was written here stays')
  page.drop('own', 1, false)
  assert.deepEqual([page.settle('own'), page.view('own')], ['removed', undefined])
})

test('rows of the opening are found, changed, renamed, deleted and brought back like those of a Map', () => {
  let [renamed, returned] = [0, 0]
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomFrom(seed)
    const any = (list) => list[Math.floor(random() * list.length)]
    const page = new mirror.Mirror()
    let known = new Map()
    const names = [...Array.from({ length: 30 + seed * 3 }, (_, n) => `${'é'.repeat(n % 3)}r${n}`), 'late', 'later']
    const text = (id, n, at = null) => JSON.stringify({ id, n, _deletedAt: at })
    for (let from = 0; from < names.length - 2; from += 40) {
      const ids = names.slice(from, Math.min(from + 40, names.length - 2))
      const [rows, dead] = [ids.map((id, at) => text(id, at, at % 9 === 8 ? 'x' : null)), ids.flatMap((_, at) => (at % 9 === 8 ? [at] : []))]
      page.fill({ ids: ids.join('\n'), ...inPiece(rows), dead })
      ids.forEach((id, at) => known.set(id, rows[at]))
    }
    for (let round = 0; round < 200; round++) {
      const id = any(names)
      const draw = random()
      if (draw < 0.2) {
        // Also into the place of another one, and two that change places.
        const [from, to] = [any([...known.keys()]), random() < 0.7 ? `n${round}` : any(names)]
        const pairs = from === to ? [] : random() < 0.3 && known.has(to) ? [[from, to], [to, from]] : [[from, to]]
        page.rename(pairs)
        const now = new Map(pairs)
        known = new Map([...known].filter(([one]) => now.has(one) || !pairs.some(([, two]) => two === one)).map(([one, row]) => [now.get(one) ?? one, row]))
        names.push(...pairs.map(([, two]) => two).filter((two) => !names.includes(two)))
        renamed += pairs.length
      } else {
        const row = draw < 0.4 ? undefined : text(id, round + 100, draw < 0.5 ? 'x' : null)
        if (row !== undefined && !known.has(id)) returned++
        page.receive(id, row)
        if (row === undefined) known.delete(id)
        else known.set(id, row)
      }
      for (const one of names) {
        assert.equal(page.view(one), known.get(one), `seed ${seed}, round ${round}: ${one}`)
        assert.equal(page.isLive(one), known.has(one) && !slot.isDead(known.get(one)), `seed ${seed}, round ${round}: ${one}`)
      }
    }
    const live = [...known.values()].filter((row) => !slot.isDead(row))
    assert.deepEqual(page.live(), live, `seed ${seed}: in order`)
    assert.deepEqual([page.count, page.dead().sort()], [live.length, [...known.values()].filter(slot.isDead).sort()], `seed ${seed}`)
  }
  assert.ok(renamed > 1000 && returned > 500, `${renamed} renamed, ${returned} back`)
})

test('what is found by its id is that id, also where ids fall together', (t) => {
  // Without chance the hash of a text is its letters, in whatever order.
  t.mock.method(crypto, 'getRandomValues', (numbers) => numbers)
  const rows = new packed.PackedRows()
  assert.equal(rows.find('a'), -1)
  const ids = ['abb', 'ab', 'a', 'bab', 'ba', 'b']
  assert.equal(rows.fill({ ids: ids.join('\n'), ...inPiece(ids), dead: [] }), 0)
  const numbers = [...ids, 'bba', '', 'ab\na'].map((id) => rows.find(id))
  assert.deepEqual(numbers, [0, 1, 2, 3, 4, 5, -1, -1, -1])
  rows.rename(1, 'bbab')
  rows.delete(2)
  assert.deepEqual([rows.find('ab'), rows.find('bbab'), rows.text(1), rows.find('a'), rows.size], [-1, 1, 'ab', -1, 5])
})

test('records that come without an id get one each, in their order; rows of a document one of their content', () => {
  const head = '{"ops":[{"op":"insert","collection":"c","lines":3},{"op":"update","collection":"c","id":"x","set":{},"unset":[]},{"op":"insert","collection":"log","lines":1,"idless":true},{"op":"import","collection":"d","lines":4},{"op":"import","collection":"e","lines":0}]}'
  const text = [head, '{"n":1}', '{"id":"mine"}', '{"n":2}', '{"n":3}', '{"id":"a"}', '{"id":"a","n":2}', '{"n":1}', '{"n":1}'].join('\n')
  const asked = []
  const { results, inserted, unchanged, archived, duplicateIds, isNew, touched } = batch.understand(batch.parseBatch(text), (collection) => `new${asked.push(collection)}`, (_, id) => ({ a: { id, n: 1 } })[id])
  assert.deepEqual(results.slice(0, 3).map(({ ids }) => ids), [['new1', 'mine', 'new2'], ['x'], ['new3']])
  assert.deepEqual(asked, ['c', 'c', null])
  const [a, again, one, other] = results[3].ids
  assert.deepEqual([a, again, one.length, one === other], ['a', '$dup_2_a', 37, false])
  assert.deepEqual(touched.find(({ id }) => id === again).step.record, { _sourceId: 'a', id: 'a', n: 2 })
  assert.deepEqual(results[4].ids, [])
  assert.deepEqual([inserted, unchanged, archived, duplicateIds, isNew], [3, 0, 1, 1, false])
  const alike = batch.understand(batch.parseBatch(text), () => 'x', (_, id) => ({ a: `{"id":"a","_updatedAt":"2026-01-01T00:00:00.000Z","_rev":3}` })[id])
  assert.deepEqual([alike.unchanged, alike.archived], [1, 0])
})

test('what never leaves the device is shown as the worker plans it', () => {
  const { next } = modules.provisional
  const row = JSON.stringify({ id: 'u', name: 'Ada', _updatedAt: new Date(9).toISOString(), _deletedAt: null, _rev: 7, pin: 1 })
  const shown = (step, before = row) => slot.valueOf(next(step, 'u', before, 20, ['pin', 'cache']))
  const [same, later] = [{ id: 'u', _updatedAt: new Date(9).toISOString(), _deletedAt: null, _rev: 7 }, { id: 'u', _updatedAt: new Date(20).toISOString(), _deletedAt: null }]
  for (const [step, want] of [
    [{ op: 'update', set: { pin: 2 }, unset: [] }, { ...same, name: 'Ada', pin: 2 }],
    [{ op: 'update', set: { cache: [] }, unset: ['pin'] }, { ...same, name: 'Ada', cache: [] }],
    [{ op: 'update', set: { pin: 2, name: 'Eva' }, unset: [] }, { ...later, name: 'Eva', pin: 2 }],
    [{ op: 'put', record: { id: 'u', name: 'Ada', pin: 2 }, said: 'all' }, { ...same, name: 'Ada', pin: 2 }],
    [{ op: 'put', record: { id: 'u', name: 'Ada' }, said: 'all' }, { ...same, name: 'Ada' }],
    [{ op: 'put', record: { id: 'u', name: 'Eva' }, said: 'all' }, { ...later, name: 'Eva' }],
    [{ op: 'put', record: { id: 'u', name: 'Eva', cache: 1 }, said: 'some' }, { ...later, name: 'Eva', pin: 1, cache: 1 }],
    [{ op: 'put', record: { id: 'u', name: 'Eva', pin: 0 }, said: [] }, { ...later, name: 'Eva', pin: 1 }],
    [{ op: 'put', record: { id: 'u', name: 'Ada', pin: 2, cache: 1 }, said: ['pin'] }, { ...same, name: 'Ada', pin: 2 }],
    [{ op: 'put', record: { id: 'u', name: 'Ada' }, said: ['pin'] }, { ...same, name: 'Ada' }],
    [{ op: 'delete' }, { ...later, name: 'Ada', _deletedAt: new Date(20).toISOString() }],
  ]) assert.deepEqual(shown(step), want, JSON.stringify(step))
  assert.equal(next({ op: 'update', set: { pin: 1 }, unset: ['cache'] }, 'u', row, 20, ['pin', 'cache']), row, 'nothing changes')
  for (const said of [[], 'some']) assert.equal(next({ op: 'put', record: { id: 'u', name: 'Ada' }, said }, 'u', row, 20, ['pin', 'cache']), row, 'nothing changes')
  const put = (more) => batch.understand(batch.parseBatch(`{"ops":[{"op":"put","collection":"users","record":{"id":"u"}${more}}]}`), () => '', () => true).touched[0].step.said
  const at = '"base":"2026-01-01T00:00:00.000Z"'
  assert.deepEqual(['', `,${at}`, `,${at},"own":["pin"]`, ',"base":"x"'].map(put), ['all', 'some', ['pin'], 'all'])
  const importing = (pin) => batch.parseBatch(`{"ops":[{"op":"import","collection":"users","lines":1}]}\n{"name":"Ada","pin":${pin}}`)
  const named = (pin) => batch.understand(importing(pin), () => '', () => undefined, () => ['pin']).results[0].ids[0]
  assert.equal(named(1), named(2), 'a name tells nobody a PIN')
  assert.notEqual(batch.understand(importing(1), () => '', () => undefined).results[0].ids[0], named(1))
  assert.deepEqual(batch.understand(importing(1), () => '', () => undefined, () => ['pin']).touched[0].step.record, { name: 'Ada', pin: 1 })
})

test('an import counts rows by the ids that records have now', () => {
  const now = (id) => ({ optimistic_a: 's1', optimistic_b: 's2' })[id] ?? id
  const rows = [{ id: 'optimistic_a', n: 1 }, { id: 's1', n: 1 }, { id: 'l', of: { deep: ['optimistic_b', 'optimistic_c', 'not optimistic_b'] } }, { of: 'optimistic_b' }, { of: 's2' }]
  const text = [`{"ops":[{"op":"import","collection":"c","lines":${rows.length}}]}`, ...rows.map((row) => JSON.stringify(row))].join('\n')
  const there = { s1: { id: 's1', n: 1 }, l: { id: 'l', of: { deep: ['s2', 'optimistic_c', 'not optimistic_b'] } } }
  const { results, touched, ...counts } = batch.understand(batch.parseBatch(text), () => '', (_, id) => there[id], undefined, undefined, now)
  assert.deepEqual(counts, { inserted: 3, unchanged: 2, archived: 0, duplicateIds: 1, isNew: true })
  const [one, again, line, row, other] = results[0].ids
  assert.deepEqual([one, again, line, row === other], ['s1', '$dup_2_s1', 'l', false])
  const plain = batch.understand(batch.parseBatch(`{"ops":[{"op":"import","collection":"c","lines":2}]}\n{"of":"s2"}\n{"of":"s2"}`), () => '', () => undefined)
  assert.deepEqual(plain.results[0].ids, [row, other], 'what says an old id is that row')
  assert.deepEqual(touched[3].step.record, { of: 's2' })
})

test('an imported set says the same in whatever order', () => {
  const text = ['["b","a","a"]', '["a"]', '"a"'].map((tags, n) => `{"id":"${n}","tags":${tags}}`)
  const batched = batch.parseBatch(`{"ops":[{"op":"import","collection":"users","lines":3}]}\n${text.join('\n')}`)
  const told = (sets) => batch.understand(batched, () => '', (_, id) => ({ id, tags: ['a', 'b'] }), undefined, () => sets)
  assert.deepEqual([told(['tags']), told([])].map(({ unchanged, archived }) => [unchanged, archived]), [[1, 2], [0, 3]])
})

test('a large insert is told before what happens to its records, and all of it before what is written next', async (t) => {
  const sent = []
  let firstPiece
  const begun = new Promise((resolve) => { firstPiece = resolve })
  const port = { close() {}, postMessage: (messages) => { sent.push(...messages); firstPiece() } }
  const engine = new remote.Remote({ port, hooks: { notify() {} }, syncs: () => false, localOf: () => [], setsOf: () => [], naming: { now: () => 5, random: () => 0.5, remaps: () => false }, end() {} })
  t.after(() => engine.free())
  const hear = (message) => port.onmessage({ data: message })
  engine.whenOpen()
  hear({ kind: 'news', rows: [], planned: [], refused: [], drained: {}, status: '{}', metrics: '{}' })
  hear({ kind: 'opened', clientId: 'c', isNew: true, storage: '{}' })
  const made = (name, count) => Array.from({ length: count }, (_, n) => ({ id: `${name}${n}` }))
  engine.insertInPieces('c', made('a', 50_000))
  engine.insertInPieces('d', made('b', 600))
  await begun
  assert.deepEqual([sent.map(({ kind }) => kind), engine.drain().changes], [['lines'], []], 'it takes more than one piece')
  const row = JSON.stringify({ id: 'a49999', n: 1, _updatedAt: new Date(9).toISOString(), _deletedAt: null })
  hear({ kind: 'piece', collection: 'c', ids: 'a49999', ...inPiece([row]), dead: [] })
  hear({ kind: 'news', rows: [{ collection: 'c', source: 'tab', all: false, pieces: 1, gone: [], renamed: undefined }], planned: [], refused: [], drained: {} })
  const told = engine.drain().changes.map(({ collection, source, added, updated, rows }) => [collection, source, added.length, updated.length, rows?.length])
  assert.deepEqual(told, [['c', 'local', 50_000, 0, 50_000], ['d', 'local', 600, 0, 600], ['c', 'tab', 0, 1, undefined]])
  await null
  sent.length = 0
  engine.insertInPieces('e', made('e', 600))
  engine.pause()
  await null
  assert.deepEqual(sent.map(({ kind, seq }) => [kind, seq]), [['lines', undefined], ['write', 3], ['tell', undefined]])
})
