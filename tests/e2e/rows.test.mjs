// The rows of the demo page under a user's hands: a deletion can be taken back also where nothing was ever sent.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { loadFarm, openFakeDemo } from './fake-demo.mjs'

let demo
let page
let find
before(async () => {
  demo = await openFakeDemo()
  ;({ page, find } = await demo.open())
  await loadFarm({ find })
})
after(() => demo?.close())

const undo = () => page.getByRole('button', { name: 'Undo' }).last().click()
const production = (where) => page.evaluate((where) => window.homing.db.collection('dailyProduction').list({ where }), where)

test('offline: an entry that was never sent is deleted and brought back, with all that was in it', { timeout: 30_000 }, async () => {
  await find('online-switch').uncheck()
  await find('tab-production').click()
  await find('filter-from').fill('2031-01-01')
  await find('new-date').fill('2031-01-02')
  await find('new-eggs').fill('321')
  await find('new-notes').fill('counted twice, do not lose')
  await find('new-add').click()
  await find('day').waitFor()
  const [written] = await production({ date: '2031-01-02' })
  await find('day-delete').click()
  await find('day').waitFor({ state: 'detached' })
  await undo()
  await find('day').waitFor()
  const [back] = await production({ date: '2031-01-02' })
  const { _updatedAt: _, ...content } = written
  const { _updatedAt: later, ...again } = back
  assert.deepEqual(again, content)
  assert.ok(later >= written._updatedAt)
  assert.equal(await page.locator('.notice.alarm').count(), 0)
  await find('online-switch').check()
  await page.evaluate(async () => { while ((await window.homing.db.sync()).remaining > 0) { /* the farm goes in several requests */ } })
  await page.locator('[data-testid=day] [data-testid=badge][data-state=synced]').waitFor()
})

test('the archive says at once who was kept when that is corrected', { timeout: 30_000 }, async () => {
  const outcomes = await page.evaluate(async () => {
    const { createArchive } = await import('/archive.js')
    const flock = { id: 'f', name: 'Layers', count: 1 }
    const entry = { id: 'c1', label: "Flock 'Layers'", recordId: 'f', mine: flock, theirs: { ...flock, _deletedAt: '2026-01-01T00:00:00.000Z' }, mineBy: 'me', theirsBy: 'other', policy: 'lww', status: 'resolved', at: '2026-01-01T00:00:00.000Z', winner: 'theirs' }
    let listed = [entry]
    let tell
    const archive = createArchive({ dialog: {}, db: { clientId: 'me', conflicts: { list: () => listed, subscribe: (listener) => { tell = listener } } } })
    const outcome = () => archive.querySelector('[data-testid=archived] .hint').textContent.split(' · ')[0]
    const before = outcome()
    listed = [{ ...entry, winner: 'mine' }]
    tell()
    return [before, outcome()]
  })
  assert.deepEqual(outcomes, ['Theirs was kept, decided by a user', 'Mine was kept, decided by a user'])
})

test('none of this made the page complain', () => {
  assert.deepEqual(demo.browser.problems, [])
})
