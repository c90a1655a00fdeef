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

/** Both write without knowing of the other; `a` comes first to the server, whatever the pages do by themselves. */
async function meet(a, b, id, first) {
  await b.switchOnline(false)
  await write(a, first, id)
  await write(b, first === 'delete' ? 'edit' : 'delete', id)
  await a.sync()
  await b.switchOnline(true)
  await b.sync()
}

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
        await meet(a, b, ids[n], first)
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
    await t.test('on a phone it fits, the keyboard reaches all of it, and the focus is not lost', async () => {
      await b.page.setViewportSize({ width: 360, height: 740 })
      const id = await a.run(async (db) => (await db.collection('flocks').insert({ name: 'Layers of the long house behind the old barn', breed: 'Lohmann Brown' })).id)
      for (const device of devices) await device.sync()
      await meet(a, b, id, 'edit')
      await b.find('conflict-dialog').waitFor({ state: 'visible' })
      await b.page.keyboard.press('Escape')
      const count = await b.find('conflict-badge').boundingBox()
      assert.ok(count.x + count.width <= 360, 'how many questions wait is in sight')
      await b.tab('config')
      for (const entry of await b.page.locator('[data-testid=archived] summary').all()) await entry.click()
      assert.deepEqual(await b.page.evaluate(() => [document.documentElement, ...document.querySelectorAll('.row')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.outerHTML.slice(0, 80))), [], 'wider than the screen')
      await b.find('decide').focus()
      await b.page.keyboard.press('Enter')
      await b.find('conflict-dialog').waitFor({ state: 'visible' })
      const walked = []
      for (let n = 0; n < 4; n++) {
        await b.page.keyboard.press('Tab')
        walked.push(await b.page.evaluate(() => document.activeElement.textContent))
      }
      assert.deepEqual(walked, ['Keep the changes', 'Delete it anyway', 'View diff', 'Later'])
      for (const _ of ['View diff', 'Delete it anyway', 'Keep the changes']) await b.page.keyboard.press('Shift+Tab')
      await b.page.keyboard.press('Enter')
      await b.find('conflict-dialog').waitFor({ state: 'hidden' })
      assert.equal(await b.page.evaluate(() => document.activeElement.dataset.testid), 'waiting')
    })
    await t.test('one question after the other, and a double click answers one of them', async () => {
      const ids = await a.run(async (db) => Promise.all(['One', 'Two', 'Three'].map(async (name) => (await db.collection('flocks').insert({ name })).id)))
      for (const device of devices) await device.sync()
      await b.switchOnline(false)
      for (const id of ids) {
        await write(a, 'delete', id)
        await write(b, 'edit', id)
      }
      await a.sync()
      await b.page.setViewportSize({ width: 1000, height: 900 })
      await b.switchOnline(true)
      await b.sync()
      const title = () => b.find('conflict-title').textContent()
      const waiting = () => b.run((db) => db.conflicts.list({ status: 'unresolved' }).map(({ recordId }) => recordId))
      const asks = (name) => b.page.waitForFunction((name) => document.querySelector('[data-testid=conflict-dialog]').open && document.querySelector('[data-testid=conflict-title]').textContent.includes(`'${name}'`), name)
      await b.find('conflict-dialog').waitFor({ state: 'visible' })
      const order = await waiting()
      const names = order.map((id) => ['One', 'Two', 'Three'][ids.indexOf(id)])
      await asks(names[0])
      const button = b.find('accept-deletion')
      await button.click({ trial: true })
      const { x, y, width, height } = await button.boundingBox()
      await b.page.mouse.click(x + width / 2, y + height / 2)
      await b.page.waitForTimeout(180)
      await b.page.mouse.click(x + width / 2, y + height / 2)
      await asks(names[1])
      assert.deepEqual(await waiting(), order.slice(1), 'the second press decided nothing')
      await b.page.waitForTimeout(700)
      assert.match(await title(), new RegExp(names[1]), 'the question stays until it is answered')
      await b.find('keep-mine').click()
      await asks(names[2])
      assert.deepEqual(await waiting(), order.slice(2))
      await b.page.keyboard.press('Escape')
      await b.find('conflict-dialog').waitFor({ state: 'hidden' })
      await b.tab('config')
      await b.find('decide').click()
      await asks(names[2])
      assert.equal(await b.find('keep-mine').isEnabled(), true, 'who opened it himself need not wait')
      await b.find('keep-mine').click()
      await b.find('conflict-dialog').waitFor({ state: 'hidden' })
      assert.deepEqual(await waiting(), [])
    })
    assert.deepEqual(devices.flatMap(({ problems }) => problems), [])
  } finally {
    for (const device of devices) await device.close()
    await demo.close()
    await rm(screenshots, { recursive: true, force: true })
  }
})
