// The second half of the story: an app that keeps one big tree and saves all of it. Whatever others changed since it took
// its copy stays, two tabs that save in turn lose nothing, and a save of one change is a small request.

import assert from 'node:assert/strict'
import { assertSameAsServer } from './server-rows.mjs'
import { readServerRows } from './sql.mjs'

const PUSH_LIMIT = 2_048
const NEW_DAYS = [1, 2, 3].map((n) => ({ id: `story-day-${n}`, date: `2026-03-0${n}`, eggsCollected: 500 + n, eggsBroken: 0, deaths: 0, notes: `added while A held an old tree, ${n}` }))

/** @param {{ step: Function, a: any, b: any, server: any, input: any }} world both devices online and in sync */
export async function playStaleTree({ step, a, b, server, input }) {
  const [edited1, edited2, own] = input.clients
  const gone = input.clients[3]
  const flockId = input.flocks[2].id

  await step('Stale tree: A exports; B adds 3 rows, edits 2 and deletes 1, and A pulls them', async () => {
    await a.run(async (db) => { window.tree = await db.exportDocument() })
    await b.run(async (db, { days, flock, edits, deleted }) => {
      const production = db.collection('dailyProduction')
      const clients = db.collection('clients')
      await Promise.all([
        ...days.map((day) => production.insert({ ...day, flockId: flock })),
        ...edits.map((id) => clients.update(id, { notes: 'edited by B' })),
        clients.delete(deleted),
      ])
    }, { days: NEW_DAYS, flock: flockId, edits: [edited1.id, edited2.id], deleted: gone.id })
    await b.sync()
    await a.sync()
    assert.equal(await a.run((db, id) => db.collection('dailyProduction').get(id)?.notes, NEW_DAYS[2].id), NEW_DAYS[2].notes)
  })
  await step("A changes another row in its old tree and saves it: one update, B's 6 changes stand everywhere", async () => {
    const saved = await a.run(async (db, id) => {
      window.tree.clients.find((client) => client.id === id).notes = 'edited by A in an old tree'
      const { inserted, updated, deleted } = await db.saveDocument(window.tree)
      return { inserted, updated, deleted }
    }, own.id)
    assert.deepEqual(saved, { inserted: 0, updated: 1, deleted: 0 })
    await a.sync()
    await b.sync()
    const stored = await readServerRows(server.database)
    const views = [['the server', (collection, id) => alive(stored.get(`${collection}/${id}`))]]
    for (const device of [a, b]) {
      const rows = await device.run((db, ids) => ids.map(([collection, id]) => db.collection(collection).get(id) ?? null), wanted(edited1, edited2, own, gone))
      const byKey = new Map(wanted(edited1, edited2, own, gone).map(([collection, id], index) => [`${collection}/${id}`, rows[index]]))
      views.push([device.id, (collection, id) => byKey.get(`${collection}/${id}`) ?? null])
    }
    for (const [who, get] of views) {
      for (const day of NEW_DAYS) assert.equal(get('dailyProduction', day.id)?.eggsCollected, day.eggsCollected, `${who}: ${day.id}`)
      for (const { id } of [edited1, edited2]) assert.equal(get('clients', id)?.notes, 'edited by B', `${who}: ${id}`)
      assert.equal(get('clients', gone.id), null, `${who}: the deleted row`)
      assert.equal(get('clients', own.id)?.notes, 'edited by A in an old tree', `${who}: A's own change`)
    }
    for (const device of [a, b]) await assertSameAsServer(device, server)
  })
  await step('Two tabs of A save their own trees in turn: nothing is lost', async () => {
    const tab = await a.openTab()
    try {
      const [first, second, third] = input.clients.slice(4, 7)
      for (const one of [a, tab]) await one.run(async (db) => { window.tree = await db.exportDocument() })
      await a.run(saveNote, [first.id, 'first tab'])
      await tab.run(saveNote, [second.id, 'second tab'])
      await a.run(saveNote, [third.id, 'first tab again'])
      await a.sync()
      const stored = await readServerRows(server.database)
      for (const [{ id }, notes] of [[first, 'first tab'], [second, 'second tab'], [third, 'first tab again']]) {
        assert.equal(stored.get(`clients/${id}`).record.notes, notes)
        for (const one of [a, tab]) await one.page.waitForFunction(([client, wantedNotes]) => window.homing.db.collection('clients').get(client).notes === wantedNotes, [id, notes])
      }
      await assertSameAsServer(a, server)
    } finally {
      await tab.close()
    }
  })
  await step('One changed record in the whole tree: the push is under 2 KB', async () => {
    const bodies = []
    const listen = (request) => {
      if (request.method() === 'POST') bodies.push(request.postDataBuffer())
    }
    a.page.on('request', listen)
    const report = await a.run(async (db, id) => {
      const tree = await db.exportDocument()
      tree.clients.find((client) => client.id === id).notes = 'one small change'
      const { inserted, updated, deleted } = await db.saveDocument(tree)
      await db.sync()
      return { inserted, updated, deleted, pending: db.status.getSnapshot().pending }
    }, input.clients[7].id)
    a.page.off('request', listen)
    assert.deepEqual(report, { inserted: 0, updated: 1, deleted: 0, pending: 0 })
    const pushes = bodies.filter((body) => JSON.parse(body).mutations?.length > 0)
    assert.equal(pushes.length, 1)
    assert.equal(JSON.parse(pushes[0]).mutations.length, 1)
    console.log(`      push body: ${pushes[0].length} bytes`)
    assert.ok(pushes[0].length < PUSH_LIMIT, `${pushes[0].length} bytes: ${pushes[0]}`)
    await b.sync()
  })
}

function wanted(edited1, edited2, own, gone) {
  return [...NEW_DAYS.map(({ id }) => ['dailyProduction', id]), ...[edited1, edited2, own, gone].map(({ id }) => ['clients', id])]
}

function alive(row) {
  return row === undefined || row.deleted ? null : row.record
}

// Runs in the page: a change in the tree that this tab took long ago.
async function saveNote(db, [id, notes]) {
  window.tree.clients.find((client) => client.id === id).notes = notes
  const { inserted, updated, deleted } = await db.saveDocument(window.tree)
  if (inserted !== 0 || updated !== 1 || deleted !== 0) throw new Error(`saved ${JSON.stringify({ inserted, updated, deleted })}`)
}
