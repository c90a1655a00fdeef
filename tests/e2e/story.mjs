// The story that Homing is for: a real farm, edited offline in two browsers, syncs, and no version is lost. `npm run demo --
// --check` and `story.test.mjs` play it on the demo page, with the server as a process of its own. The second half, about
// stale trees, is `stale-tree.mjs`.

import assert from 'node:assert/strict'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { countRows } from '../../scripts/farm.mjs'
import { openDevice } from './device.mjs'
import { assertSameDocument } from './equality.mjs'
import { assertSameAsServer } from './server-rows.mjs'
import { countServerRows } from './sql.mjs'
import { playStaleTree } from './stale-tree.mjs'

const KEY = 'egglogu_data'
/** The same in both devices, to the letter: two people who write down the same fact. */
const AUDIT_ROW = { ts: '2026-03-01T06:30:00.000Z', user: 'Maria', action: 'note', module: 'flocks', detail: 'Gate left open', before: null, after: null }

/**
 * Plays the story; rejects at the first step that fails.
 *
 * @param {{ step: (name: string, work: () => Promise<any>) => Promise<any>, url: string, farm: string, server: { database: string, kill: () => Promise<void>, restart: () => Promise<void> } }} world
 *   `url`: the demo page; `farm`: the document's JSON text
 */
export async function runStory({ step, url, farm, server }) {
  const screenshots = await mkdtemp(join(tmpdir(), 'homing-story-'))
  console.log(`Screenshots: ${screenshots}`)
  const devices = []
  try {
    const open = async (id) => {
      const device = await openDevice({ url, id, screenshots })
      devices.push(device)
      return device
    }
    const a = await open('a')
    const b = await open('b')
    const world = { step, a, b, server, input: JSON.parse(farm) }
    await playFirstSync(world, farm)
    await playOfflineEdits(world)
    await playReunion(world)
    await playStaleTree(world)
    await playSecondImport(world)
    await step('No page had an error', async () => {
      assert.deepEqual(devices.flatMap(({ problems }) => problems), [])
    })
  } catch (error) {
    await Promise.allSettled(devices.map((device) => device.shoot(`failed-${device.id}`)))
    throw error
  } finally {
    await Promise.all(devices.map((device) => device.close()))
  }
}

async function playFirstSync({ step, a, b, server, input }, farm) {
  await step('A: the farm goes from localStorage into Homing, and the export equals it', async () => {
    await a.shoot('01-first-run')
    await a.page.evaluate(([key, text]) => localStorage.setItem(key, text), [KEY, farm])
    await a.find('load-farm').click()
    await a.find('flock').first().waitFor()
    assertSameDocument(await a.document(), input, "A's export")
    assert.equal(await a.page.evaluate((key) => localStorage.getItem(key), KEY), farm, 'the old data stays as it was')
    await a.shoot('02-imported')
  })
  await step('A syncs: nothing waits, nothing was refused', async () => {
    await a.sync()
    const status = await a.run((db) => ({ ...db.status.getSnapshot(), queue: db.queue.list().length }))
    assert.deepEqual([status.pending, status.queue, status.deadLetters, status.conflicts], [0, 0, 0, 0])
    const states = await a.find('flock').locator('[data-testid=badge]').evaluateAll((badges) => badges.map((badge) => badge.dataset.state))
    assert.deepEqual(states, input.flocks.map(() => 'synced'))
  })
  await step('B gets everything: its export equals the farm too', async () => {
    await b.sync()
    await b.find('flock').first().waitFor()
    assertSameDocument(await b.document(), input, "B's export")
    await b.shoot('03-second-device')
  })
  await step("The server's tables hold as many rows per collection, read by SQL", async () => {
    const stored = await countServerRows(server.database)
    for (const [collection, rows] of Object.entries(countRows(input))) assert.equal(stored[collection] ?? 0, rows, collection)
    assert.deepEqual([stored.farm, stored.settings], [1, 1])
  })
}

async function playOfflineEdits(world) {
  const { step, a, b, server, input } = world
  const [shared, contested] = input.flocks
  Object.assign(world, { shared, contested })
  await step('Both are switched offline; both edit the same flock and other fields of the settings, and note the same fact', async () => {
    for (const device of [a, b]) {
      await device.switchOnline(false)
      assert.equal(await device.find('sync-state').textContent(), 'Offline')
    }
    await editFlock(a, shared.id, 'count', shared.count + 101)
    await editFlock(b, shared.id, 'count', shared.count + 202)
    await editSetting(a, 'settings-minFeedStock', input.settings.minFeedStock + 11)
    await editSetting(b, 'settings-maxMortality', input.settings.maxMortality + 2)
    for (const device of [a, b]) await device.run((db, row) => db.collection('auditLog').insert(row), AUDIT_ROW)
  })
  await step('A deletes a flock that B edits', async () => {
    await a.tab('flocks')
    await flockRow(a, contested.id).locator('[data-testid=flock-delete]').click()
    await flockRow(a, contested.id).waitFor({ state: 'detached' })
    await editFlock(b, contested.id, 'breed', `${contested.breed} X`)
    assert.equal(await badgeOf(b, contested.id), 'queued')
    await b.shoot('04-offline-edits')
  })
  await step("B's page is reloaded offline: its writes are still queued", async () => {
    const before = await b.run(listQueue)
    const document = await b.document()
    await b.reload()
    const after = await b.run(listQueue)
    assert.deepEqual(after, before)
    assertSameDocument(await b.document(), document, "B's export after the reload")
    assert.deepEqual(after.map(({ op, collection }) => `${op} ${collection}`).sort(), ['create auditLog', 'update flocks', 'update flocks', 'update settings'])
    assert.equal(await badgeOf(b, shared.id), 'queued')
    assert.equal(await flockRow(b, shared.id).locator('[data-testid=flock-count]').inputValue(), String(shared.count + 202))
    assert.equal(await b.find('pending').getAttribute('data-count'), '4')
  })
  await step('The server is killed and started again on its file: no row is gone', async () => {
    const before = await countServerRows(server.database)
    await server.kill()
    await server.restart()
    assert.deepEqual(await countServerRows(server.database), before)
  })
}

async function playReunion(world) {
  const { step, a, b, server, input, shared, contested } = world
  await step('Both go online and sync; both settings edits are on both devices', async () => {
    await a.switchOnline(true)
    await a.sync()
    await b.switchOnline(true)
    await b.sync()
    await a.sync()
    for (const device of [a, b]) {
      const settings = await device.run((db) => db.singleton('settings').get())
      assert.deepEqual([settings.minFeedStock, settings.maxMortality], [input.settings.minFeedStock + 11, input.settings.maxMortality + 2], device.id)
    }
  })
  await step('The identical audit rows are two, on both devices and on the server', async () => {
    const count = input.auditLog.length + 2
    for (const device of [a, b]) assert.equal(await device.run((db, detail) => db.collection('auditLog').list().filter((row) => row.detail === detail).length, AUDIT_ROW.detail), 2, device.id)
    assert.equal((await countServerRows(server.database)).auditLog, count)
  })
  await step('The later flock edit stands, the overwritten version is in the archive of both devices', async () => {
    for (const device of [a, b]) {
      assert.equal(await device.run((db, id) => db.collection('flocks').get(id).count, shared.id), shared.count + 202, device.id)
      const archived = await device.run((db, id) => db.conflicts.list().filter(({ recordId, status }) => recordId === id && status !== 'unresolved'), shared.id)
      const counts = archived.map(({ mine, theirs }) => [mine?.count, theirs?.count])
      assert.ok(counts.flat().includes(shared.count + 101), `${device.id}: the archive has ${JSON.stringify(counts)}`)
    }
    await a.tab('config')
    const entry = a.page.locator(`[data-testid=archived][data-record="${shared.id}"]`)
    await entry.locator('summary').click()
    assert.match(await entry.locator('tr[data-field=count]').textContent(), new RegExp(`changed.*${shared.count + 101}.*${shared.count + 202}`))
    await entry.scrollIntoViewIfNeeded()
    await a.shoot('05-archive')
  })
  await step('All else shows the same on both devices as on the server', async () => {
    for (const device of [a, b]) await assertSameAsServer(device, server, { except: [`flocks/${contested.id}`] })
  })
  await step('The deleted and edited flock waits for the user, who sees its name', async () => {
    for (const device of [a, b]) {
      const waiting = await device.run((db) => db.conflicts.list({ status: 'unresolved' }).map(({ recordId }) => recordId))
      assert.deepEqual(waiting, [contested.id], device.id)
      await device.page.waitForFunction(() => document.querySelector('[data-testid=conflict-badge]').dataset.count === '1')
      assert.equal(await device.find('conflict-badge').isVisible(), true, device.id)
    }
    await b.page.waitForSelector('[data-testid=conflict-dialog][open]')
    assert.equal(await b.find('conflict-title').textContent(), `Flock '${contested.name}' was deleted on another device but you made changes.`)
    assert.equal(await a.find('conflict-dialog').isVisible(), false, 'A deleted it and is not asked')
    assert.equal(await badgeOf(b, contested.id), 'conflict')
    await b.shoot('06-dialog')
    // Escape decides nothing: the question goes to Config and can be opened from there.
    assert.equal(await b.page.evaluate(() => document.activeElement.dataset.testid), 'conflict-title', 'the question has the focus')
    await b.page.keyboard.press('Escape')
    await b.find('conflict-dialog').waitFor({ state: 'hidden' })
    await b.tab('config')
    await b.find('decide').click()
    await b.page.waitForSelector('[data-testid=conflict-dialog][open]')
    await b.find('view-diff').click()
    const dialog = b.find('conflict-dialog')
    assert.match(await dialog.locator('tr[data-field=breed]').textContent(), new RegExp(`changed.*${escapeRegExp(contested.breed)} X.*deleted`))
    await b.shoot('07-dialog-diff')
  })
  await step('“Keep mine” on B brings the flock back on both and clears the badge on both', async () => {
    await b.find('keep-mine').click()
    await b.find('conflict-dialog').waitFor({ state: 'hidden' })
    await b.sync()
    await a.sync()
    for (const device of [a, b]) {
      assert.equal(await device.run((db, id) => db.collection('flocks').get(id)?.breed, contested.id), `${contested.breed} X`, device.id)
      assert.equal(await device.run((db) => db.conflicts.list({ status: 'unresolved' }).length), 0, device.id)
      await device.find('conflict-badge').waitFor({ state: 'hidden' })
      await device.tab('flocks')
      await flockRow(device, contested.id).waitFor()
    }
    assert.equal(await badgeOf(b, contested.id), 'synced')
    await a.shoot('08-resolved-a')
    await b.shoot('08-resolved-b')
  })
  await step('Both documents are equal, and equal to the server row by row', async () => {
    for (const device of [a, b]) await assertSameAsServer(device, server)
    assertSameDocument(sortRows(await b.document()), sortRows(await a.document()), "B's export against A's")
  })
}

async function playSecondImport({ step, a, server }) {
  await step('Importing the same localStorage again adds nothing and takes nothing back', async () => {
    const document = await a.document()
    const rows = await countServerRows(server.database)
    const inserted = await a.run(async (db, key) => {
      const report = await db.importLocalStorage({ key })
      return Object.entries(report.collections).filter(([, one]) => one.inserted > 0).map(([name, one]) => `${name}: ${one.inserted}`)
    }, KEY)
    assert.deepEqual(inserted, [])
    assertSameDocument(await a.document(), document, "A's export after the second import")
    await a.sync()
    assertSameDocument(await a.document(), document, "A's export after the second import was synced")
    assert.deepEqual(await countServerRows(server.database), rows)
  })
}

function flockRow(device, id) {
  return device.page.locator(`[data-testid=flock][data-id="${id}"]`)
}

async function badgeOf(device, id) {
  return flockRow(device, id).locator('[data-testid=badge]').getAttribute('data-state')
}

async function editFlock(device, id, field, value) {
  await device.tab('flocks')
  const input = flockRow(device, id).locator(`[data-testid=flock-${field}]`)
  await input.fill(String(value))
  await input.press('Enter')
  await device.page.waitForFunction(([flock, name, wanted]) => window.homing.db.collection('flocks').get(flock)[name] === wanted, [id, field, value])
}

async function editSetting(device, testid, value) {
  await device.tab('config')
  await device.find(testid).fill(String(value))
  await device.find(testid).press('Enter')
  const field = testid.slice(testid.indexOf('-') + 1)
  await device.page.waitForFunction(([name, wanted]) => window.homing.db.singleton('settings').get()[name] === wanted, [field, value])
}

// Runs in the page.
function listQueue(db) {
  return db.queue.list().map(({ id, op, collection, recordId, record }) => ({ id, op, collection, recordId, record }))
}

// New rows stand in order of arrival, which differs per device; the rows themselves must not.
function sortRows(document) {
  // A real farm has two rows with one id, so the whole row decides.
  const key = (row) => JSON.stringify([row.id, ...Object.entries(row).sort()])
  const sort = (value) => {
    if (Array.isArray(value) && value.every((row) => row !== null && typeof row === 'object')) {
      return value.map((row) => [key(row), row]).sort(([x], [y]) => (x < y ? -1 : Number(x > y))).map(([, row]) => row)
    }
    if (Array.isArray(value)) return value
    if (value === null || typeof value !== 'object') return value
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, sort(inner)]))
  }
  return sort(document)
}

function escapeRegExp(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
