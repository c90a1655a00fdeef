// Fields that never leave the device, in the shell: rows, documents, verdicts, and what is sent. What becomes of them under whatever a
// server answers is the business of tests/queue/device_only.rs.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { answerPage, startFakeServer } from '../support/fake-server.mjs'
import { openSite } from './page.mjs'

const SECRET = '4711-secret'

let server
let site
let page

before(async () => {
  server = await startFakeServer()
  let rev = 100
  server.answer((asked) => {
    const results = asked.mutations.map(({ id }) => ({ id, status: 'applied', rev: ++rev }))
    const changes = asked.mutations.map(({ collection, record }, at) => ({ collection, records: [{ ...record, _rev: results[at].rev }] }))
    return JSON.stringify({ ...JSON.parse(answerPage({ asked })), rev, cursor: `c1.${rev}..e1`, results, changes })
  })
  site = await openSite()
  page = await site.open()
})
after(async () => {
  await site.close()
  await server.close()
})

function withUsers(steps, arg, collections = { users: { localFields: ['pin', 'cache'] } }) {
  return page.evaluate(async ({ source, url, arg, collections }) => {
    const steps = new Function(`return (${source})`)()
    const options = { name: `local-${crypto.randomUUID()}`, collections, sync: { url, auto: false, getToken: async () => 'token' } }
    const opened = { db: await openDatabase(options), async again() { await this.db.close(); return (this.db = await openDatabase(options)) } }
    try {
      return await steps(opened, arg)
    } finally {
      await opened.db.wipe({ discardPending: true })
    }
  }, { source: steps.toString(), url: server.url, arg, collections })
}

test('they are shown, kept and never sent; a write of nothing else is settled at once', async () => {
  const result = await withUsers(async (opened, secret) => {
    const { db } = opened
    const users = db.collection('users')
    const created = users.insert({ id: 'u', pin: secret, name: 'Ada' })
    const shown = [created.record.pin]
    await created
    await db.sync()
    const before = users.get('u')
    const own = users.update('u', { pin: `${secret}2`, cache: [1] })
    const put = users.put({ id: 'u', name: 'Ada', pin: secret, cache: [2] })
    shown.push(own.record.pin, put.record.cache[0])
    await Promise.all([own, put])
    const verdicts = [(await created.settled).status, (await own.settled).status, (await put.settled).status, (await users.update('u', { pin: secret }).settled).status]
    const batch = db.batch((tx) => { tx.collection('users').update('u', { cache: [3] }); tx.collection('users').update('u', { name: 'Eva' }) })
    await batch
    await db.sync()
    verdicts.push(...(await batch.settled).map(({ status }) => status))
    const after = users.get('u')
    const confirmed = users.confirmed('u')
    const many = users.insertMany(Array.from({ length: 600 }, (_, n) => ({ id: `m${n}`, pin: secret, n })))
    const imported = await (await many, db.importDocument({ users: [{ name: 'Uta', pin: secret }] }))
    while (db.status.getSnapshot().pending > 0) await db.sync()
    const again = (await opened.again()).collection('users')
    return {
      shown, verdicts, stamps: [before._updatedAt === own.record._updatedAt, before._rev === own.record._rev],
      after: { ...after }, confirmed: confirmed.pin, imported: imported.collections.users.inserted,
      reopened: [again.get('u').pin, again.get('m599').pin, again.list({ where: { pin: secret } }).length, again.list().length],
      state: again.state('u'),
    }
  }, SECRET)
  assert.deepEqual(result.shown, [SECRET, `${SECRET}2`, 2])
  assert.deepEqual(result.verdicts, ['applied', 'local', 'local', 'cancelled', 'local', 'applied'])
  assert.deepEqual(result.stamps, [true, true], 'it is the same version')
  assert.deepEqual([result.after.name, result.after.pin, result.after.cache, result.confirmed, result.imported], ['Eva', SECRET, [3], SECRET, 1])
  assert.deepEqual(result.reopened, [SECRET, SECRET, 602, 602])
  assert.equal(result.state, 'synced')
  assert.ok(server.requests.some(({ mutations }) => mutations.some(({ record }) => record.name === 'Eva')))
  const sent = JSON.stringify(server.requests)
  for (const told of [SECRET, '"pin"', '/pin', '"cache"']) assert.ok(!sent.includes(told), told)
})

test('a document has them like any member', async () => {
  const result = await withUsers(async ({ db }, secret) => {
    await db.saveDocument({ users: [{ id: 'u', name: 'Ada', pin: secret }] })
    const tree = await db.exportDocument()
    tree.users[0].pin = `${secret}2`
    const saved = await db.saveDocument(tree)
    const verdicts = (await saved.settled).map(({ status }) => status)
    tree.users[0].name = 'Eva'
    await db.saveDocument(tree)
    await db.sync()
    return { saved: [saved.inserted, saved.updated], verdicts, tree: await db.exportDocument(), queue: db.queue.list().length }
  }, SECRET)
  assert.deepEqual(result, { saved: [0, 1], verdicts: ['local'], tree: { users: [{ id: 'u', name: 'Eva', pin: `${SECRET}2` }] }, queue: 0 })
  assert.ok(!JSON.stringify(server.requests).includes(SECRET))
})

test('a note of this device on a fact is no other fact', async () => {
  const result = await withUsers(async ({ db }) => {
    await db.saveDocument({ visits: [{ id: 'v', n: 1 }], feed: [{ n: 1 }, { n: 1 }, { n: 2, note: 'old' }] })
    await db.sync()
    const tree = await db.exportDocument()
    tree.visits[0].note = 'new'
    tree.feed[1].note = 'second'
    delete tree.feed[2].note
    const saved = await db.saveDocument(tree)
    const verdicts = (await saved.settled).map(({ status }) => status)
    const again = await db.saveDocument(tree)
    const shown = await db.exportDocument()
    tree.visits[0].n = 2
    const edited = await db.saveDocument(tree)
    return { saved: [saved, again, edited].map(({ inserted, updated }) => [inserted, updated]), verdicts, shown, visits: db.collection('visits').count(), feed: db.collection('feed').count() }
  }, null, { visits: { merge: 'append-only', localFields: ['note'] }, feed: { merge: 'append-only', localFields: ['note'] } })
  assert.deepEqual(result.saved, [[0, 3], [0, 0], [1, 0]])
  assert.deepEqual(result.verdicts, ['local', 'local', 'local'])
  assert.deepEqual(result.shown, { visits: [{ id: 'v', n: 1, note: 'new' }], feed: [{ n: 1 }, { n: 1, note: 'second' }, { n: 2 }] })
  assert.deepEqual([result.visits, result.feed], [2, 3])
})

test('a note of this device in a tree takes back nothing that others wrote meanwhile', async () => {
  const result = await withUsers(async ({ db }, secret) => {
    const users = db.collection('users')
    await users.insertMany([{ id: 'u', name: 'Ada' }, { id: 'gone', name: 'Ida' }])
    await db.exportDocument().then((tree) => db.saveDocument(tree))
    await db.sync()
    const tree = await db.exportDocument()
    await users.update('u', { name: 'Eva' })
    await users.delete('gone')
    for (const row of tree.users) row.pin = secret
    const verdicts = (await (await db.saveDocument(tree)).settled).map(({ status }) => status)
    const shown = [users.get('u').name, users.get('u').pin, users.get('gone')]
    db.refreshDocument(tree)
    return { verdicts, shown, tree: tree.users }
  }, SECRET)
  assert.deepEqual(result, { verdicts: ['local'], shown: ['Eva', SECRET, undefined], tree: [{ id: 'u', name: 'Eva', pin: SECRET }] })
})

test('a tree that was never exported and differs in notes alone is what is here', async () => {
  const result = await withUsers(async ({ db }) => {
    const notes = [db.collection('feed'), db.collection('users')]
    const tree = () => ({ feed: [{ n: 1 }], users: [{ id: 'u', name: 'Ada' }], profile: { name: 'Ada' } })
    await db.importDocument(tree())
    for (const rows of notes) await rows.update(rows.list()[0].id, { pin: 'here' })
    await db.singleton('profile').update({ pin: 'here' })
    const mine = tree()
    mine.users[0].pin = 'there'
    const reports = []
    for (const change of [() => {}, () => {}, () => { mine.users[0].name = mine.profile.name = 'Eva' }]) {
      change()
      const { inserted, updated, unchanged, archived } = await db.saveDocument(mine)
      reports.push([inserted, updated, unchanged, archived])
    }
    const rows = [...notes.map((one) => one.list()), [db.singleton('profile').get()]].map(([one, another]) => [one.name, one.pin, another])
    return { reports, rows, conflicts: db.conflicts.list().length }
  }, null, { users: { localFields: ['pin'] }, feed: { merge: 'append-only', localFields: ['pin'] }, profile: { singleton: true, localFields: ['pin'] } })
  assert.deepEqual(result.reports, [[0, 0, 3, 0], [0, 0, 3, 0], [0, 2, 1, 0]])
  assert.deepEqual(result.rows, [[undefined, 'here', undefined], ['Eva', 'here', undefined], ['Eva', 'here', undefined]])
  assert.equal(result.conflicts, 0)
})

test('a note of this device keeps no row that a tree has deleted', async () => {
  const result = await withUsers(async ({ db }) => {
    const users = db.collection('users')
    await users.insertMany([{ id: 'u', name: 'Ada' }, { id: 'v', name: 'Ida' }])
    const tree = await db.exportDocument()
    await users.update('u', { cache: 1 })
    await users.update('v', { name: 'Eva' })
    tree.users = []
    const { deleted } = await db.saveDocument(tree)
    return [deleted, users.list().map(({ id }) => id).join()]
  })
  assert.deepEqual(result, [1, 'v'])
})

test('a tree of before that says which versions it was made from takes no note of this device away', async () => {
  const result = await withUsers(async ({ db }, secret) => {
    const [users, profile] = [db.collection('users'), db.singleton('profile')]
    await users.insert({ id: 'u', name: 'Ada', pin: secret })
    await profile.set({ name: 'Ada', pin: secret })
    await db.sync()
    const rows = structuredClone({ users: [users.get('u')], profile: profile.get() })
    delete rows.users[0].pin
    delete rows.profile.pin
    const seen = []
    for (const name of ['Ada', 'Ada', 'Eva']) {
      rows.users[0].name = rows.profile.name = name
      await db.saveDocument(rows)
      seen.push([users.get('u').name, users.get('u').pin, profile.get().name, profile.get().pin])
    }
    return seen
  }, SECRET, { users: { localFields: ['pin'] }, profile: { singleton: true, localFields: ['pin'] } })
  assert.deepEqual(result, ['Ada', 'Ada', 'Eva'].map((name) => [name, SECRET, name, SECRET]))
})

test('a tree or a form that was read before says nothing of what was noted since', async () => {
  const result = await withUsers(async ({ db }, secret) => {
    const users = db.collection('users')
    await users.insert({ id: 'u', name: 'Ada', cache: 1 })
    await db.singleton('profile').set({ name: 'Ada', cache: 1 })
    await db.sync()
    const tree = await db.exportDocument()
    const form = { ...users.get('u') }
    await users.update('u', { pin: secret, cache: 2 })
    await db.singleton('profile').update({ pin: secret, cache: 2 })
    tree.users[0].name = tree.profile.name = 'Eva'
    await db.saveDocument(tree)
    const saved = [{ ...users.get('u') }, { ...db.singleton('profile').get() }]
    await db.refreshDocument(tree)
    const refreshed = structuredClone(tree)
    delete tree.users[0].cache
    tree.users[0].pin = tree.profile.pin = `${secret}2`
    await db.saveDocument(tree)
    saved.push({ ...users.get('u') }, { ...db.singleton('profile').get() })
    delete form.cache
    const put = users.put({ ...form, name: 'Ida' })
    const at_once = put.record.pin
    await put
    await users.put({ id: 'u', name: 'Uta' })
    return { saved: saved.map(({ name, pin, cache }) => [name, pin, cache]), refreshed: [refreshed.users[0].pin, refreshed.profile.cache], at_once, put: (await put).pin, whole: users.get('u').pin }
  }, SECRET, { users: { localFields: ['pin', 'cache'] }, profile: { singleton: true, merge: 'fww', localFields: ['pin', 'cache'] } })
  assert.deepEqual(result.saved, [['Eva', SECRET, 2], ['Eva', SECRET, 2], ['Eva', `${SECRET}2`, undefined], ['Eva', `${SECRET}2`, 2]])
  assert.deepEqual([result.refreshed, result.at_once, result.put, result.whole], [[SECRET, 2], `${SECRET}2`, `${SECRET}2`, undefined])
})

test('a declaration that cannot be kept is refused by its place', async () => {
  const refused = await page.evaluate((declared) => failure(openDatabase({ name: `local-${crypto.randomUUID()}`, collections: { users: declared } })), { localFields: ['pin'], references: { pin: 'others' } })
  assert.deepEqual([refused.homing, refused.code, refused.path], [true, 'invalid-record', '/collections/users/references'])
})
