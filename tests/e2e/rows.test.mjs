// The rows of the demo page under a user's hands: a deletion can be taken back, fields show what is there, the focus is never lost.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openFakeDemo } from './fake-demo.mjs'

let demo
let page
let find
before(async () => {
  demo = await openFakeDemo()
  ;({ page, find } = await demo.open())
})
after(() => demo?.close())

const undo = () => page.getByRole('button', { name: 'Undo' }).last().click()
const production = (where) => page.evaluate((where) => window.homing.db.collection('dailyProduction').list({ where }), where)

/** What has the focus: the id of a row, a test id, or the text of a heading. */
const focused = () => page.evaluate(() => {
  const { dataset, textContent, tagName } = document.activeElement
  return dataset.id ?? dataset.testid ?? (/^H\d$/.test(tagName) ? textContent : tagName)
})

test('loading the farm by the keyboard leaves the focus on the farm', { timeout: 30_000 }, async () => {
  await find('load-farm').focus()
  await page.keyboard.press('Enter')
  await find('flock').first().waitFor()
  await page.waitForFunction(() => document.activeElement !== document.body)
  assert.equal(await focused(), 'tab-flocks')
})

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

test('a number of birds below none, or with a fraction, is not saved and does not stay in sight', { timeout: 30_000 }, async () => {
  await find('tab-flocks').click()
  const { id, count } = demo.input.flocks[3]
  const birds = page.locator(`[data-testid=flock][data-id="${id}"] [data-testid=flock-count]`)
  for (const wrong of ['-5', '3.7']) {
    await birds.fill(wrong)
    await birds.press('Enter')
    await page.locator('.notice.alarm').getByText('Birds of').first().waitFor()
    assert.equal(await birds.inputValue(), String(count), wrong)
    assert.equal(await page.evaluate((id) => window.homing.db.collection('flocks').get(id).count, id), count)
    await page.getByRole('button', { name: 'Close notice' }).last().click()
  }
  await birds.fill('')
  await birds.press('Enter')
  assert.equal(await birds.inputValue(), String(count), 'emptied')
})

test('what could not be saved gives way to what the record has', { timeout: 30_000 }, async () => {
  const seen = await page.evaluate(async () => {
    const { fieldInput } = await import('/dom.js')
    const { node, show } = fieldInput({ label: 'Name', save: async () => false, refuse: () => {} })
    show('kept')
    node.value = 'typed'
    node.dispatchEvent(new Event('change'))
    await new Promise((resolve) => { setTimeout(resolve) })
    return node.value
  })
  assert.equal(seen, 'kept')
})

test('what was typed and taken back does not hide what another device wrote', { timeout: 30_000 }, async () => {
  const { id } = demo.input.flocks[4]
  const breed = page.locator(`[data-testid=flock][data-id="${id}"] [data-testid=flock-breed]`)
  const elsewhere = (text) => page.evaluate(([id, breed]) => window.homing.db.collection('flocks').update(id, { breed }), [id, text])
  for (const [leave, text] of [['Tab', 'first'], ['Escape', 'second']]) {
    await breed.press('End')
    await page.keyboard.type('x')
    await page.keyboard.press('Backspace')
    await elsewhere(text)
    await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve) }))
    assert.notEqual(await breed.inputValue(), text, 'not while it is being typed')
    await page.keyboard.press(leave)
    assert.equal(await breed.inputValue(), text, leave)
  }
})

test('a filter on a flock that goes becomes no filter', { timeout: 30_000 }, async () => {
  await find('tab-production').click()
  await find('filter-from').fill('')
  const { id } = demo.input.flocks[5]
  await find('filter-flock').selectOption(id)
  const named = () => page.evaluate(() => new Set([...document.querySelectorAll('[data-testid=day] .when')].map((when) => when.textContent.split(', ').slice(1).join())).size)
  assert.equal(await named(), 1)
  await page.evaluate((id) => window.homing.db.collection('flocks').delete(id), id)
  await page.waitForFunction(() => document.querySelector('[data-testid=filter-flock]').value === '')
  assert.ok(await named() > 1, 'the list is of all flocks, as the filter says')
})

test('where a row goes that had the focus, its neighbour has it, of the last one the one before', { timeout: 30_000 }, async () => {
  await find('tab-flocks').click()
  const ids = await find('flock').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id))
  const press = async (id) => {
    await page.locator(`[data-testid=flock][data-id="${id}"] [data-testid=flock-delete]`).focus()
    await page.keyboard.press('Enter')
    await page.locator(`[data-testid=flock][data-id="${id}"]`).waitFor({ state: 'detached' })
    return focused()
  }
  assert.equal(await press(ids[2]), ids[3], 'the next')
  assert.equal(await press(ids.at(-1)), ids.at(-2), 'of the last one the one before')
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'flock-name', 'one goes on from there')
  for (const _ of [1, 2]) await undo()
})

test('by the keyboard: Undo leads to the row that is back, closing a notice to where one was, Enter stays in its field', { timeout: 30_000 }, async () => {
  await find('tab-flocks').click()
  const ids = await page.locator('[data-testid=flock]').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id))
  const [row, id] = [(id) => page.locator(`[data-testid=flock][data-id="${id}"]`), ids[1]]
  const remove = async () => {
    await row(id).locator('[data-testid=flock-delete]').focus()
    await page.keyboard.press('Enter')
    await row(id).waitFor({ state: 'detached' })
    assert.equal(await focused(), ids[2])
  }
  const press = async (name) => {
    await page.getByRole('button', { name }).last().focus()
    await page.keyboard.press('Enter')
  }
  await remove()
  await press('Undo')
  await row(id).waitFor()
  await page.waitForFunction((id) => document.activeElement.dataset.id === id, id)
  await page.keyboard.press('Enter') // a second press, meant for the notice, deletes nothing
  assert.equal(await row(id).count(), 1)
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'flock-name', 'one goes on from there')
  await remove()
  await press('Close notice')
  assert.equal(await focused(), ids[2], 'back on the row that had the focus')
  await page.evaluate((id) => window.homing.db.collection('flocks').undelete(id).then(() => {}), id)
  await row(id).waitFor()
  await remove()
  await find('tab-production').focus()
  await page.keyboard.press('Enter')
  await press('Undo')
  await page.waitForFunction((id) => window.homing.db.collection('flocks').get(id) !== undefined, id)
  assert.equal(await focused(), 'tab-production', 'not on a row that nobody sees')
  await find('tab-flocks').click()
  const name = row(id).locator('[data-testid=flock-name]')
  await name.focus()
  await page.keyboard.press('End')
  await page.keyboard.type(' II')
  await page.keyboard.press('Enter')
  await page.waitForFunction((id) => window.homing.db.collection('flocks').get(id).name.endsWith(' II'), id)
  assert.deepEqual([await focused(), await page.evaluate(() => document.activeElement.closest('[data-testid=flock]').dataset.id)], ['flock-name', id])
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'flock-breed')
  // What was typed and taken back is no change: what others write is shown again.
  await page.keyboard.type('x')
  await page.keyboard.press('Backspace')
  await page.keyboard.press('Enter')
  const breed = row(id).locator('[data-testid=flock-breed]')
  const before = await page.evaluate((id) => window.homing.db.collection('flocks').get(id).breed, id)
  await page.evaluate(([id, breed]) => window.homing.db.collection('flocks').update(id, { breed }), [id, `${before}!`])
  await page.waitForFunction(([id, breed]) => document.activeElement.value === breed, [id, `${before}!`])
  assert.equal(await breed.inputValue(), `${before}!`)
})

test('the focus stays among what the server refused, and above it when nothing is left', { timeout: 60_000 }, async () => {
  await page.evaluate(async () => { while ((await window.homing.db.sync()).remaining > 0) { /* what waits goes first */ } })
  demo.server.answer((asked) => {
    const { results, ...answer } = JSON.parse(demo.accept({ ...asked, mutations: [] }))
    return JSON.stringify({ ...answer, results: [...results, ...asked.mutations.map(({ id }) => ({ id, status: 'rejected', code: 'validation', message: 'No.' }))] })
  })
  await page.evaluate((ids) => Promise.all(ids.map((id) => window.homing.db.collection('flocks').update(id, { count: 5 }))), demo.input.flocks.slice(6, 8).map(({ id }) => id))
  await find('tab-config').click()
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=dead-letter]').length === 2)
  const letters = await find('dead-letter').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id))
  demo.server.answer(demo.accept)
  for (const [at, name, next] of [[0, /^Discard/, letters[1]], [1, /^Retry/, 'Refused by the server']]) {
    await page.locator(`[data-testid=dead-letter][data-id="${letters[at]}"]`).getByRole('button', { name }).focus()
    await page.keyboard.press('Enter')
    await page.locator(`[data-testid=dead-letter][data-id="${letters[at]}"]`).waitFor({ state: 'detached' })
    assert.equal(await focused(), next)
  }
})

test('a server out of reach is not called "offline" while the device is online', { timeout: 30_000 }, async () => {
  await page.route(`${demo.server.url}/**`, (route) => route.abort())
  await find('sync-now').click()
  await page.locator('.notice.alarm').getByText('The server is out of reach.').waitFor()
  assert.match(await find('sync-state').textContent(), /^Server out of reach/)
  await page.unrouteAll({ behavior: 'wait' })
  await find('online-switch').uncheck()
  await find('sync-now').click()
  await page.locator('.notice.alarm').getByText('This device is offline.').waitFor()
  assert.equal(await find('sync-state').textContent(), 'Offline')
  await find('online-switch').check()
  demo.browser.problems.splice(0, Infinity, ...demo.browser.problems.filter((text) => !text.includes('ERR_FAILED')))
})

test('a farm whose last flock is deleted is still a farm, also after a reload; a flock can be added', { timeout: 60_000 }, async () => {
  await find('tab-flocks').click()
  const [last, ...others] = await find('flock').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id))
  await page.evaluate((ids) => Promise.all(ids.map((id) => window.homing.db.collection('flocks').delete(id))), others)
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=flock]').length === 1)
  await page.locator(`[data-testid=flock][data-id="${last}"] [data-testid=flock-delete]`).focus()
  await page.keyboard.press('Enter')
  await find('flock').waitFor({ state: 'detached' })
  assert.equal(await focused(), 'Flocks')
  await page.reload()
  await page.waitForSelector('[data-ready=true]', { state: 'attached' })
  assert.equal(await find('first-run').count(), 0)
  await page.getByText('No flocks.').waitFor()
  await find('tab-production').click()
  assert.equal(await find('day').count(), 30)
  await find('tab-flocks').click()
  await find('new-flock-open').click()
  await find('new-flock-name').fill('Pullets')
  await find('new-flock-breed').fill('Lohmann Brown')
  await find('new-flock-count').fill('12')
  await find('new-flock-add').click()
  await find('flock').waitFor()
  assert.deepEqual([await find('flock-name').inputValue(), await find('flock-count').inputValue()], ['Pullets', '12'])
})

test('on a phone long words break, and the Undo of a notice is within reach', { timeout: 60_000 }, async () => {
  await page.setViewportSize({ width: 360, height: 640 })
  const long = 'Reposicion_primavera_2026_nave_3_sector_norte'.repeat(9)
  await page.evaluate(async (long) => {
    const { db } = window.homing
    const [flock] = db.collection('flocks').list()
    await db.collection('flocks').update(flock.id, { name: long })
    await db.collection('dailyProduction').insert({ flockId: flock.id, date: '2032-01-01', eggsCollected: 1, deaths: 0, notes: '' })
    await db.collection('auditLog').insert({ ts: '2032-01-01T00:00:00.000Z', user: long, detail: long })
    await db.singleton('farm').update({ name: long })
  }, long)
  for (const tab of ['flocks', 'production', 'audit', 'config']) {
    await find(`tab-${tab}`).click()
    const wide = () => page.evaluate(() => [document.documentElement.scrollWidth, ...[...document.querySelectorAll('.row, .card')].map((one) => one.scrollWidth - one.clientWidth + 360)].filter((width) => width > 360))
    assert.deepEqual(await wide(), [], tab)
    assert.ok(await find('tab-config').evaluate((button) => button.getBoundingClientRect().right <= 360), 'the last tab is in sight')
  }
  await find('tab-flocks').click()
  await find('flock-delete').last().click()
  const button = page.getByRole('button', { name: 'Undo' }).last()
  await button.waitFor()
  const { x, width } = await button.boundingBox()
  assert.ok(x >= 0 && x + width <= 360, `Undo is from ${x} to ${x + width}`)
  await button.click()
  await find('flock').first().waitFor()
})

test('none of this made the page complain', () => {
  assert.deepEqual(demo.browser.problems, [])
})
