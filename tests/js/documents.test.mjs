// Document mode against the real engine: trees in, trees out, and the three-way save. "Meanwhile" is written through
// collections: the page's tree has not seen that, like a change of another device.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { countRows, farmText } from '../../scripts/farm.mjs'
import { openSite } from './page.mjs'

const FARM = farmText()
const COLLECTIONS = { auditLog: { merge: 'append-only' }, settings: { singleton: true }, farm: { singleton: true } }
let site
let page

before(async () => {
  site = await openSite({ files: { '/farm.json': FARM } })
  page = await site.open()
})
after(async () => {
  assert.deepEqual(site.problems, [])
  await site.close()
})

/** Runs `steps(db, tree)` on an exported tree of `input`; resolves to what it returns. */
function withTree(input, steps) {
  return page.evaluate(async ({ input, source }) => {
    const steps = new Function(`return (${source})`)()
    const db = await openDatabase({ name: `doc-${crypto.randomUUID()}` })
    try {
      await db.importDocument(input)
      return await steps(db, await db.exportDocument())
    } finally {
      await db.wipe()
    }
  }, { input, source: steps.toString() })
}

test('a farm goes in and comes out the same, in the same order; importing it again adds nothing; one edit is one mutation', async () => {
  const seen = await page.evaluate(async (collections) => {
    localStorage.setItem('egglogu_data', await (await fetch('/farm.json')).text())
    const original = localStorage.getItem('egglogu_data')
    const progress = []
    const db = await openDatabase({ name: 'farm', collections })
    const report = await db.importLocalStorage({ key: 'egglogu_data', onProgress: (p) => progress.push(p) })
    const tree = await db.exportDocument()
    const exported = JSON.stringify(tree)
    const queued = db.status.getSnapshot().pending
    const again = await db.importLocalStorage({ key: 'egglogu_data' })
    const nothing = await db.saveDocument(tree)
    const afterNothing = db.status.getSnapshot().pending
    tree.flocks[3].notes = 'seen by the vet'
    const one = await db.saveDocument(tree)
    const edited = await db.exportDocument()
    const state = { exported, report, again, queued, afterNothing, nothing, one, progress, conflicts: db.conflicts.list().length, untouched: localStorage.getItem('egglogu_data') === original, note: edited.flocks[3].notes }
    await db.close()
    const reopened = await openDatabase({ name: 'farm', collections })
    state.reopened = JSON.stringify(await reopened.exportDocument()) === JSON.stringify(edited)
    await reopened.wipe()
    return state
  }, COLLECTIONS)
  const farm = JSON.parse(FARM)
  assert.deepEqual(JSON.parse(seen.exported), farm)
  assert.deepEqual(Object.keys(JSON.parse(seen.exported)), Object.keys(farm))
  const counts = countRows(farm)
  assert.deepEqual(Object.fromEntries(Object.entries(seen.report.collections).map(([name, { rows }]) => [name, rows])), counts)
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0)
  assert.equal(Object.values(seen.report.collections).reduce((sum, { inserted }) => sum + inserted, 0), total)
  assert.ok(seen.report.collections.inventory.duplicateIds > 0, 'the farm has a duplicate id')
  assert.deepEqual(seen.report.problems, [])
  assert.equal(Object.values(seen.again.collections).reduce((sum, { inserted }) => sum + inserted, 0), 0)
  assert.equal(seen.conflicts, 0)
  assert.equal(seen.afterNothing, seen.queued)
  assert.deepEqual([seen.nothing.inserted, seen.nothing.updated, seen.nothing.deleted], [0, 0, 0])
  assert.deepEqual([seen.one.inserted, seen.one.updated, seen.one.deleted], [0, 1, 0])
  assert.equal(seen.note, 'seen by the vet')
  assert.ok(seen.untouched && seen.reopened)
  assert.equal(seen.progress.at(-1).phase, 'durable')
  assert.equal(seen.progress.at(-1).done, total)
})

test('every odd shape comes out as it went in', async () => {
  const input = {
    version: 3, id: 'farm-7', _rev: 5, $odd: [1], 'a.b': [{ id: 'x' }], '': { x: 1 }, nothing: null, tags: ['a', 'b'], mixed: [1, { id: 'a' }], nested: [[1], []],
    empty: [], none: {}, box: { empty: [], deep: { er: [{ id: '1', n: null }] } }, labels: { list: ['p', 'q'], rows: [{ id: '1' }] },
    settings: { id: 'own', dark: false, list: [], of: { id: 3, b: null } },
    twice: [{ id: 'x', n: 1 }, { id: 'x', n: 2 }, { id: 'x', n: 1 }], numbers: [{ id: 5, n: 1 }, { id: '5', n: 2 }, { id: 5, n: 3 }], nameless: [{ a: 1 }, { a: 2 }, { a: 1 }],
    odd: [{ id: null, n: 1 }, { id: '', n: 2 }, { id: { x: 1 }, n: 3 }, { id: '$mine', n: 4 }], text: [{ id: '\u0000', t: '\n"😀' }],
  }
  const [exported, saved, reserved] = await withTree(input, async (db, tree) => [JSON.stringify(tree), await db.saveDocument(JSON.parse(JSON.stringify(tree))), await db.exportDocument({ reserved: true })])
  assert.deepEqual(JSON.parse(exported), input)
  assert.deepEqual([saved.inserted, saved.updated, saved.deleted], [0, 0, 0])
  assert.match(reserved.nameless[0].id, /^\$row_/)
  assert.match(reserved.box.deep.er[0]._updatedAt, /^20.*Z$/)
  assert.equal(reserved.twice[1].id, 'x')
})

test('a stale tree touches only what it changed', async () => {
  const input = { flocks: ['a', 'b', 'c', 'd', 'e', 'f'].map((id) => ({ id, n: 0 })), settings: { dark: false, tax: 1, of: { a: 1, b: 1 } }, log: [{ t: 1 }] }
  const result = await withTree(input, async (db, tree) => {
    const flocks = db.collection('flocks')
    await Promise.all([flocks.insert({ id: 'new', n: 9 }), flocks.update('a', { n: 1 }), flocks.delete('b'), flocks.update('f', { n: 8 }), db.singleton('settings').update((s) => ({ tax: 2, of: { ...s.of, b: 2 } })), db.collection('log').insert({ id: 'other', t: 2 })])
    tree.flocks[2].n = 5
    tree.flocks.push({ id: 'mine', n: 7 })
    tree.flocks = tree.flocks.filter(({ id }) => id !== 'd' && id !== 'f')
    tree.settings.dark = true
    tree.settings.of.a = 3
    const saved = await db.saveDocument(tree)
    db.refreshDocument(tree)
    return { saved, tree, now: await db.exportDocument() }
  })
  assert.deepEqual([result.saved.inserted, result.saved.updated, result.saved.deleted], [1, 2, 1])
  assert.deepEqual(result.tree.flocks.map(({ id }) => id).sort(), ['a', 'c', 'e', 'f', 'mine', 'new'], 'the refresh brings back what was not deleted')
  assert.deepEqual(result.now, {
    flocks: [{ id: 'a', n: 1 }, { id: 'c', n: 5 }, { id: 'e', n: 0 }, { id: 'f', n: 8 }, { id: 'new', n: 9 }, { id: 'mine', n: 7 }],
    settings: { dark: true, tax: 2, of: { a: 3, b: 2 } },
    log: [{ t: 1 }, { id: 'other', t: 2 }],
  })
})

test('each exported tree goes by what was seen when it was exported; a clone by the last', async () => {
  const names = await withTree({ flocks: [{ id: 'a', n: 0 }] }, async (db, tree) => {
    await db.collection('flocks').insert({ id: 'b', n: 1 })
    const second = await db.exportDocument()
    const first = await db.saveDocument(tree)
    const last = await db.saveDocument({ flocks: second.flocks.slice(0, 1) })
    return [first.deleted, last.deleted]
  })
  assert.deepEqual(names, [0, 0], 'the first tree never showed b, and saving it made it the last one seen')
})

test('without an export saving deletes and overwrites nothing', async () => {
  const result = await page.evaluate(async () => {
    const db = await openDatabase({ name: `doc-${crypto.randomUUID()}` })
    await db.collection('flocks').insertMany([{ id: 'a', n: 1 }, { id: 'b', n: 2 }])
    const tree = { flocks: [{ id: 'a', n: 9 }, { id: 'c', n: 3 }], settings: { dark: true } }
    const first = await db.saveDocument(tree)
    const archived = db.conflicts.list().length
    const second = await db.saveDocument(tree)
    const now = await db.exportDocument()
    const again = db.conflicts.list().length
    await db.wipe()
    return { first, second, now, archived, again }
  })
  const { _conflictArchive: kept, ...now } = result.now
  assert.deepEqual(now, { flocks: [{ id: 'a', n: 1 }, { id: 'b', n: 2 }, { id: 'c', n: 3 }], settings: { dark: true } })
  assert.deepEqual(kept.map(({ recordId, mine }) => [recordId, mine.n]), [['a', 9]], 'the document has the archive, too')
  assert.deepEqual([result.first.inserted, result.first.deleted, result.second.inserted, result.second.deleted], [2, 0, 0, 0])
  assert.deepEqual([result.archived, result.again], [1, 1], 'the differing row is archived, once')
})

test('without an export saving brings nothing back that was deleted, however often, until the tree changes it', async () => {
  const result = await page.evaluate(async () => {
    const db = await openDatabase({ name: `doc-${crypto.randomUUID()}`, collections: { days: { references: { flockId: 'flocks' } } } })
    const flocks = db.collection('flocks')
    await flocks.insertMany([{ id: 'a', n: 1 }, { id: 'b', n: 1 }])
    // So their deletions are kept: nothing was sent.
    await db.collection('days').insertMany([{ flockId: 'a' }, { flockId: 'b' }])
    await Promise.all([flocks.delete('a'), flocks.delete('b')])
    const tree = { flocks: [{ id: 'a', n: 1 }, { id: 'b', n: 2 }] }
    const seen = []
    for (const n of [1, 1, 3]) {
      tree.flocks[0].n = n
      const { inserted, unchanged, archived } = await db.saveDocument(tree)
      seen.push([inserted, unchanged, archived, flocks.list().map(({ id }) => id).join()])
    }
    await db.wipe()
    return seen
  })
  assert.deepEqual(result, [[0, 1, 1, ''], [0, 2, 0, ''], [1, 1, 0, 'a']])
})

test('a new row whose set is stored in another order stays the row of its tree', async () => {
  const result = await page.evaluate(async () => {
    const names = []
    for (const exports of [true, false]) {
      const db = await openDatabase({ name: `doc-${crypto.randomUUID()}`, collections: { teams: { fields: { tags: 'set' } } } })
      const tree = exports ? await db.exportDocument() : {}
      tree.teams = [{ id: 't', name: 'Ada', tags: ['b', 'a', 'a'] }]
      await db.saveDocument(tree)
      tree.teams[0].name = 'Eva'
      const { updated, archived } = await db.saveDocument(tree)
      names.push([updated, archived, db.collection('teams').get('t').name, db.refreshDocument(tree).length, tree.teams[0].tags.join()])
      await db.wipe()
    }
    return names
  })
  assert.deepEqual(result, [[1, 0, 'Eva', 1, 'a,b'], [1, 0, 'Eva', 1, 'a,b']])
})

test('a set is the same in whatever order a tree has it: met again, imported again, and when its row is taken away', async () => {
  const result = await page.evaluate(async () => {
    const options = { name: `doc-${crypto.randomUUID()}`, collections: { teams: { fields: { tags: 'set' } }, crew: { singleton: true, fields: { tags: 'set' } } } }
    let db = await openDatabase(options)
    const tree = () => ({ teams: [{ id: 't', name: 'Ada', tags: ['b', 'a', 'a'] }, { tags: [{ n: 2 }, 1] }], crew: { name: 'Ada', tags: [2, 1] } })
    await db.importDocument(tree())
    const { unchanged, archived } = (await db.importDocument(tree())).collections.teams
    await db.close()
    db = await openDatabase(options)
    const mine = tree()
    const seen = [[unchanged, archived]]
    const save = async () => {
      const report = await db.saveDocument(mine)
      seen.push([report.inserted, report.updated, report.deleted, report.unchanged, report.archived])
    }
    await save()
    mine.teams[0].name = mine.crew.name = 'Eva'
    await save()
    seen.push([db.collection('teams').get('t').name, db.singleton('crew').get().name, db.collection('teams').count(), db.conflicts.list().length])
    mine.teams = [{ id: 'new', tags: ['b', 'a'] }, mine.teams[1]]
    await save()
    mine.teams.shift()
    await save()
    seen.push(db.collection('teams').count())
    await db.wipe()
    return seen
  })
  assert.deepEqual(result, [[2, 0], [0, 0, 0, 3, 0], [0, 2, 0, 1, 0], ['Eva', 'Eva', 2, 0], [1, 0, 1, 2, 0], [0, 0, 1, 2, 0], 1])
})

test('what differs and is not written is reported as archived, not as unchanged', async () => {
  const result = await page.evaluate(async () => {
    const name = `doc-${crypto.randomUUID()}`
    const counts = ({ settled: _, ...rest }) => rest
    const open = () => openDatabase({ name, collections: { settings: { singleton: true } } })
    let db = await open()
    await db.importDocument({ flocks: [{ id: 'a', name: 'A' }, { id: 'b', name: 'B' }], settings: { dark: false } })
    await db.close()
    // A page that has its tree from elsewhere, and never exported.
    db = await open()
    const edited = (name) => ({ flocks: [{ id: 'a', name }, { id: 'b', name: 'B' }], settings: { dark: true } })
    const first = counts(await db.saveDocument(edited('EDITED')))
    const second = counts(await db.saveDocument(edited('EDITED 2')))
    await db.close()
    db = await open()
    const imported = await db.importDocument(edited('EDITED 3'))
    const tree = await db.exportDocument()
    await db.collection('flocks').insert({ id: 'c', name: 'C' })
    tree.flocks.push({ id: 'c', name: 'mine' })
    const later = counts(await db.saveDocument(tree))
    const out = { first, second, imported: imported.collections, later, name: db.collection('flocks').get('a').name, archived: db.conflicts.list({ recordId: 'a' }).map(({ mine }) => mine.name) }
    await db.wipe()
    return out
  })
  const nothing = { inserted: 0, updated: 0, deleted: 0 }
  assert.deepEqual([result.first, result.second], Array(2).fill({ ...nothing, unchanged: 1, archived: 2 }))
  assert.deepEqual(result.imported, { flocks: { rows: 2, inserted: 0, unchanged: 1, archived: 1, duplicateIds: 0 } })
  assert.deepEqual(result.later, { ...nothing, unchanged: 3, archived: 1 }, 'a row that this page has not seen')
  assert.deepEqual([result.name, result.archived], ['A', ['EDITED', 'EDITED 2', 'EDITED 3']])
})

test('facts are added, never changed or deleted; equal facts are counted', async () => {
  const result = await withTree({ log: [{ t: 1 }, { t: 2 }, { t: 2 }] }, async (db, tree) => {
    tree.log.splice(0, 1)
    tree.log.push({ t: 2 }, { t: 3 })
    tree.log[0].t = 4
    const saved = await db.saveDocument(tree)
    return { saved, now: await db.exportDocument() }
  })
  // The tree says 4, 2, 2, 3: one 2 became a 4, two are left of two, 3 is new.
  assert.deepEqual(result.now.log, [{ t: 1 }, { t: 2 }, { t: 2 }, { t: 4 }, { t: 3 }])
  assert.deepEqual([result.saved.inserted, result.saved.updated, result.saved.deleted], [2, 0, 0])
})

test('an edited fact with an id is another fact under the same id', async () => {
  const result = await page.evaluate(async () => {
    const db = await openDatabase({ name: `doc-${crypto.randomUUID()}`, collections: { log: { merge: 'append-only' } } })
    await db.importDocument({ log: [{ id: 'x', t: 1 }, { id: 'y', t: 1 }] })
    const tree = await db.exportDocument()
    tree.log[0].t = 2
    tree.log.pop()
    const first = await db.saveDocument(tree)
    const second = await db.saveDocument(tree)
    const { log } = await db.exportDocument()
    await db.wipe()
    return { log, counts: [first, second].map(({ inserted, updated, deleted }) => [inserted, updated, deleted]) }
  })
  assert.deepEqual(result, { log: [{ id: 'x', t: 1 }, { id: 'y', t: 1 }, { id: 'x', t: 2 }], counts: [[1, 0, 0], [0, 0, 0]] })
})

test('only and deletions narrow a save; a missing member is left alone, an empty array is not', async () => {
  const input = { a: [{ id: '1' }], feed: { x: [{ id: '1' }], y: [{ id: '1' }] }, version: 1, gone: 2 }
  const result = await withTree(input, async (db, tree) => {
    const counts = async (change, options) => {
      change(tree)
      const { inserted, updated, deleted } = await db.saveDocument(tree, options)
      return [inserted, updated, deleted]
    }
    const out = [
      await counts((t) => { t.a = []; t.feed.x = []; t.version = 2 }, { only: ['feed.y'] }),
      await counts(() => {}, { deletions: false }),
      await counts(() => {}, { only: ['feed'] }),
    ]
    delete tree.a
    delete tree.gone
    out.push(await counts((t) => { t.feed.y[0].n = 1 }))
    return [out, await db.exportDocument()]
  })
  assert.deepEqual(result, [[[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]], { a: [{ id: '1' }], feed: { x: [], y: [{ id: '1', n: 1 }] }, version: 2 }])
})

test('a refresh brings in what changed meanwhile and keeps unsaved edits', async () => {
  const input = { flocks: ['a', 'b', 'c', 'd'].map((id) => ({ id, n: 0 })), settings: { dark: false, tax: 1 }, version: 1, list: [] }
  const result = await withTree(input, async (db, tree) => {
    const flocks = db.collection('flocks')
    const same = tree.flocks[0]
    await Promise.all([flocks.update('a', { n: 1 }), flocks.delete('b'), flocks.update('c', { n: 1 }), flocks.insert({ id: 'e', n: 1 }), db.singleton('settings').update({ tax: 2 }), db.collection('list').insert({ id: 'x' })])
    tree.flocks[2].n = 5
    tree.flocks.push({ id: 'mine', n: 7 })
    tree.settings.dark = true
    const changed = db.refreshDocument(tree)
    const refreshed = structuredClone(tree)
    const quiet = db.refreshDocument(tree)
    const { inserted, updated, deleted } = await db.saveDocument(tree)
    return { changed, refreshed, quiet, saved: [inserted, updated, deleted], now: await db.exportDocument(), kept: tree.flocks[0] === same }
  })
  assert.deepEqual(result.refreshed, { flocks: [{ id: 'a', n: 1 }, { id: 'c', n: 5 }, { id: 'd', n: 0 }, { id: 'mine', n: 7 }, { id: 'e', n: 1 }], settings: { dark: true, tax: 2 }, version: 1, list: [{ id: 'x' }] })
  assert.deepEqual([...result.changed].sort(), ['/flocks', '/flocks/0', '/flocks/4', '/list/0', '/settings/tax'])
  assert.deepEqual(result.quiet, [])
  assert.deepEqual(result.saved, [1, 2, 0])
  assert.ok(result.kept, 'rows are changed in place')
  assert.deepEqual(result.now.flocks, [{ id: 'a', n: 1 }, { id: 'c', n: 5 }, { id: 'd', n: 0 }, { id: 'e', n: 1 }, { id: 'mine', n: 7 }])
})

test('what cannot be stored is refused with its place and nothing is written', async () => {
  const result = await withTree({ flocks: [{ id: 'a', n: 0 }] }, async (db, tree) => {
    const cyclic = { flocks: [] }
    cyclic.self = cyclic
    const queued = db.queue.list().length
    const out = [
      await failure(db.saveDocument({ flocks: [{ id: 'a', n: 1 }, { id: 'b', at: { x: NaN } }] })),
      await failure(db.saveDocument({ settings: { at: new Date() } })),
      await failure(db.saveDocument(cyclic)),
      await failure(db.saveDocument(JSON.parse('{"__proto__": {"x": 1}}'))),
      await failure(db.saveDocument(7)),
      await failure(db.importLocalStorage({ key: 'nothing' })),
      await failure(db.saveDocument(tree, { signal: AbortSignal.abort() })),
    ]
    return { out: out.map(({ homing, code, path }) => [homing, code, path]), same: db.queue.list().length === queued, tree: await db.exportDocument(), polluted: {}.x }
  })
  assert.deepEqual(result.out.map(([homing]) => homing), Array(7).fill(true))
  assert.deepEqual(result.out.map(([, code, path]) => [code, path]), [['invalid-record', '/flocks/1/at/x'], ['invalid-record', '/settings/at'], ['invalid-record', result.out[2][2]], ['invalid-record', '/__proto__'], ['invalid-record', ''], ['not-found', null], ['aborted', null]])
  assert.match(result.out[2][2], /^\/self/)
  assert.ok(result.same)
  assert.deepEqual(result.tree, { flocks: [{ id: 'a', n: 0 }] })
})

test('what cannot be stored is refused also where a lazy collection has to be read first', async () => {
  const result = await page.evaluate(async () => {
    const twice = { flocks: [] }
    Object.assign(twice, { self: twice, again: twice })
    let deep = []
    for (let n = 0; n < 20_000; n++) deep = [deep]
    const trees = {
      date: { flocks: [{ id: 'x', at: new Date() }] }, map: { flocks: [{ id: 'x', m: new Map([[1, 2]]) }] }, one: { settings: { at: new Date() } }, value: { at: [new Date()] },
      hidden: JSON.parse('{"__proto__": [{"id": "x"}]}'), within: { flocks: [JSON.parse('{"id": "x", "__proto__": {"n": 1}}')] },
      symbol: { flocks: [{ id: 'x', [Symbol('s')]: 1 }] }, getter: { flocks: [{ id: 'x', get n() { throw new Error('no') } }] }, twice, deep: { flocks: [{ id: 'x', deep }] },
    }
    const out = {}
    for (const [name, tree] of Object.entries(trees)) {
      for (const lazy of [false, true]) {
        const db = await openDatabase({ name: `doc-${crypto.randomUUID()}`, collections: { audit: { lazy } } })
        const { homing, code, path } = await failure(db.saveDocument(tree))
        await db.wipe()
        out[name] = [...out[name] ?? [], [homing, code, path]]
      }
    }
    const db = await openDatabase({ name: `doc-${crypto.randomUUID()}`, collections: { audit: { lazy: true } } })
    const shared = { n: 1 }
    const tree = { flocks: [{ id: 'a', x: shared, y: [shared] }], nothing: null }
    const saving = db.saveDocument(tree)
    tree.flocks[0].x.n = 2
    await saving
    const now = await db.exportDocument()
    await db.wipe()
    const other = await openDatabase({ name: `doc-${crypto.randomUUID()}`, collections: { audit: { lazy: true } } })
    const { problems } = await other.importDocument(trees.date)
    await other.wipe()
    return { out, now, problems }
  })
  for (const [name, [read, unread]] of Object.entries(result.out)) {
    assert.deepEqual(unread, read, name)
    assert.deepEqual([unread[0], unread[1]], [true, 'invalid-record'], name)
  }
  assert.deepEqual(result.now, { flocks: [{ id: 'a', x: { n: 1 }, y: [{ n: 1 }] }], nothing: null })
  assert.deepEqual(result.problems, [{ path: '/flocks/0/at', code: 'invalid-record' }])
})

test('a save that was refused notes nothing: repaired, it archives what met another row', async () => {
  const result = await page.evaluate(async () => {
    const out = []
    for (const zones of [[{ id: 'z', n: NaN }], [{ id: 'y' }, { id: 'z' }]]) {
      const db = await openDatabase({ name: `doc-${crypto.randomUUID()}`, maxQueue: 3, sync: { url: 'http://127.0.0.1:9', auto: false } })
      const tree = await db.exportDocument()
      await db.collection('days').insert({ id: 'd', eggs: 10 })
      Object.assign(tree, { days: [{ id: 'd', eggs: 7 }], zones })
      const { code } = await failure(db.saveDocument(tree))
      delete tree.zones
      await db.saveDocument(tree)
      out.push([code, db.conflicts.list().map(({ mine }) => mine.eggs)])
      await db.wipe({ discardPending: true })
    }
    return out
  })
  assert.deepEqual(result, [['invalid-record', [7]], ['queue-full', [7]]])
})

test('an import names the rows and values it cannot take and takes the others', async () => {
  const result = await page.evaluate(async () => {
    const db = await openDatabase({ name: `doc-${crypto.randomUUID()}` })
    const report = await db.importDocument({ flocks: [{ id: 'a' }, { id: 'b', n: 2 ** 60 }, JSON.parse('{"id":"c","__proto__":{"x":1}}'), { id: 'd', t: '\ud800' }, { id: 'e' }] })
    const ids = db.collection('flocks').list().map(({ id }) => id)
    const rest = await db.importDocument({ big: 2 ** 60, note: 'x', at: [1, NaN], pens: [{ id: 'p' }] })
    const { flocks: _, ...now } = await db.exportDocument()
    const huge = await db.importDocument({ one: Array(300_000).fill(1), two: Array(300_000).fill(2), barns: [{ id: 'b' }] })
    const barns = db.collection('barns').list().map(({ id }) => id)
    await db.wipe()
    return { report, ids, rest: rest.problems, now, huge: huge.problems.map(({ code }) => code), barns }
  })
  assert.deepEqual(result.ids, ['a', 'e'])
  assert.deepEqual(result.report.problems, [{ path: '/flocks/1/n', code: 'invalid-record' }, { path: '/flocks/2/__proto__', code: 'invalid-record' }, { path: '/flocks/3/t', code: 'invalid-record' }])
  assert.deepEqual(result.report.collections.flocks, { rows: 5, inserted: 2, unchanged: 0, archived: 0, duplicateIds: 0 })
  assert.deepEqual(result.rest, [{ path: '/big', code: 'invalid-record' }, { path: '/at/1', code: 'invalid-record' }])
  assert.deepEqual(result.now, { note: 'x', pens: [{ id: 'p' }] })
  assert.deepEqual([result.huge, result.barns], [['too-large'], ['b']])
})
