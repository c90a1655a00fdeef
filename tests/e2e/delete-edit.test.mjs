// Deleted on one device, edited on another: all four ways it can end, each asked and answered in the dialog of the demo page.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startDemo } from '../../scripts/demo.mjs'
import { openDevice } from './device.mjs'

/** Who came first to the server, what the second one is asked, what it answers, what is left. */
const WAYS = [
  { first: 'delete', answer: 'Keep mine', left: 'edited' },
  { first: 'delete', answer: 'Accept deletion', left: null },
  { first: 'edit', answer: 'Keep the changes', left: 'edited' },
  { first: 'edit', answer: 'Delete it anyway', left: null },
]

const write = (device, what, id) => device.run(async (db, [what, id]) => {
  const flocks = db.collection('flocks')
  await (what === 'delete' ? flocks.delete(id) : flocks.update(id, { notes: 'edited' }))
}, [what, id])

test('all four ways in which a deletion and an edit can meet', { timeout: 180_000 }, async (t) => {
  const demo = await startDemo()
  const screenshots = await mkdtemp(join(tmpdir(), 'homing-delete-edit-'))
  const devices = []
  try {
    for (const id of ['a', 'b']) devices.push(await openDevice({ url: demo.url, id, screenshots }))
    const [a, b] = devices
    const ids = await a.run(async (db, names) => Promise.all(names.map(async (name) => (await db.collection('flocks').insert({ name })).id)), WAYS.map((_, n) => `Layers ${n}`))
    for (const device of devices) await device.sync()
    for (const [n, { first, answer, left }] of WAYS.entries()) {
      await t.test(`${first} first, “${answer}”`, async () => {
        await write(a, first, ids[n])
        await write(b, first === 'delete' ? 'edit' : 'delete', ids[n])
        await a.sync()
        await b.sync()
        const dialog = b.find('conflict-dialog')
        await dialog.waitFor({ state: 'visible' })
        const sentence = first === 'delete' ? `Flock 'Layers ${n}' was deleted on another device but you made changes.` : `You deleted Flock 'Layers ${n}', but another device made changes to it.`
        assert.equal(await b.find('conflict-title').textContent(), sentence)
        assert.equal(await b.run((db, id) => db.collection('flocks').state(id), ids[n]), 'conflict')
        await dialog.getByRole('button', { name: answer, exact: true }).click()
        await dialog.waitFor({ state: 'hidden' })
        await b.sync()
        await a.sync()
        for (const device of devices) {
          const seen = await device.run((db, id) => [db.collection('flocks').get(id)?.notes ?? null, db.conflicts.list({ status: 'unresolved' }).length, db.conflicts.list({ recordId: id }).length, db.queue.list().length], ids[n])
          assert.deepEqual(seen, [left, 0, 1, 0], device.id)
        }
      })
    }
    assert.deepEqual(devices.flatMap(({ problems }) => problems), [])
  } finally {
    for (const device of devices) await device.close()
    await demo.close()
    await rm(screenshots, { recursive: true, force: true })
  }
})
