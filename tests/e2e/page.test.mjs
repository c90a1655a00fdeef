// The demo page by itself, without the story: it works by keyboard and on a phone, every control has a name, data never
// becomes markup, and what the server refuses is shown and can be given up.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { farmText } from '../../scripts/farm.mjs'
import { serveStatic } from '../../scripts/static-server.mjs'
import { ROOT } from '../../scripts/support/environment.mjs'
import { launchBrowser } from '../support/browser.mjs'
import { answerPage, startFakeServer } from '../support/fake-server.mjs'

const TABS = ['flocks', 'production', 'audit', 'config']

const farm = farmText()
const input = JSON.parse(farm)
let rev = 0
let server
let site
let browser
let page
/** The answer of a server that takes everything. */
function accept(asked) {
  const answer = answerPage({ asked, rev })
  rev += asked.mutations.length
  return answer
}

before(async () => {
  server = await startFakeServer()
  server.answer(accept)
  site = await serveStatic({
    mounts: { '/': join(ROOT, 'www'), '/homing/': join(ROOT, 'dist') },
    files: { '/farm.json': farm, '/config.json': JSON.stringify({ server: server.url, token: 'token' }) },
  })
  browser = await launchBrowser()
  page = await browser.open(`${site.url}?device=a`)
  await page.waitForSelector('[data-ready=true]', { state: 'attached' })
  await page.setViewportSize({ width: 360, height: 740 })
})
after(async () => {
  await browser?.close()
  await site?.close()
  await server?.close()
})

const find = (testid) => page.locator(`[data-testid=${testid}]`)

test('the first run fits a phone and loads the farm with a progress bar', { timeout: 60_000 }, async () => {
  await assertFits()
  await page.evaluate(() => {
    window.progressSeen = []
    const bar = document.querySelector('[data-testid=import-progress]')
    new MutationObserver(() => window.progressSeen.push(bar.value)).observe(bar, { attributes: true })
  })
  await find('load-farm').click()
  await find('flock').first().waitFor()
  assert.equal(await find('flock').count(), input.flocks.length)
  const seen = await page.evaluate(() => window.progressSeen)
  assert.ok(new Set(seen).size > 1, `the bar moved: ${seen}`)
})

test('a second device gets the farm from the server', { timeout: 60_000 }, async () => {
  const second = await browser.open(`${site.url}?device=b`)
  const button = second.locator('[data-testid=fetch-farm]')
  await button.click()
  await second.getByText('The server has no farm yet.').waitFor()
  const flock = JSON.stringify({ ...input.flocks[0], _updatedAt: '2026-02-01T00:00:00.000Z', _rev: 1 })
  server.answer((asked) => answerPage({ asked, collection: 'flocks', records: [flock], rev: 1 }))
  await button.click()
  assert.equal(await second.locator('[data-testid=flock-name]').inputValue(), input.flocks[0].name)
  server.answer(accept)
  await second.close()
})

test('every tab fits a phone, and every control on it has a name', { timeout: 60_000 }, async () => {
  for (const tab of TABS) {
    await find(`tab-${tab}`).click()
    await page.locator(`#panel-${tab}`).waitFor()
    await assertFits(tab)
    const nameless = await page.evaluate(() => [...document.querySelectorAll('input, select, button, progress')]
      .filter((control) => !(control.getAttribute('aria-label') || control.labels?.[0]?.textContent.trim() || control.textContent.trim()))
      .map((control) => control.outerHTML.slice(0, 120)))
    assert.deepEqual(nameless, [], tab)
  }
})

test('the tabs are moved by arrows, Home and End', { timeout: 30_000 }, async () => {
  await find('tab-flocks').click()
  const chosen = () => page.evaluate(() => [document.activeElement.id, ...[...document.querySelectorAll('[role=tabpanel]:not([hidden])')].map(({ id }) => id)])
  for (const [key, tab] of [['ArrowRight', 'production'], ['End', 'config'], ['ArrowRight', 'flocks'], ['ArrowLeft', 'config'], ['Home', 'flocks']]) {
    await page.keyboard.press(key)
    assert.deepEqual(await chosen(), [`tab-${tab}`, `panel-${tab}`], key)
  }
})

test('production: filter, add, edit, delete, undo', { timeout: 60_000 }, async () => {
  await find('tab-production').click()
  const [flock, other] = input.flocks
  await find('filter-flock').selectOption(flock.id)
  await page.waitForFunction((name) => [...document.querySelectorAll('[data-testid=day] .when')].every((when) => when.textContent.endsWith(name)), flock.name)
  const newest = input.dailyProduction.filter(({ flockId }) => flockId === flock.id).map(({ date }) => date).sort().at(-1)
  assert.match(await find('day').first().textContent(), new RegExp(newest))
  assert.equal(await find('day').count(), 30)

  await find('filter-from').fill('2030-01-01')
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=day]').length === 0)
  await find('new-flock').selectOption(flock.id)
  await find('new-date').fill('2030-01-02')
  await find('new-eggs').fill('321')
  await find('new-notes').fill('<img src=x onerror="window.hacked = true">')
  await find('new-add').click()
  await find('day').first().waitFor()
  assert.equal(await find('day-notes').inputValue(), '<img src=x onerror="window.hacked = true">')

  await find('day-eggsCollected').fill('123')
  await find('day-eggsCollected').press('Enter')
  await page.waitForFunction(() => window.homing.db.collection('dailyProduction').list({ where: { date: '2030-01-02' } })[0].eggsCollected === 123)
  await find('day-delete').click()
  await find('day').waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Undo' }).click()
  await find('day').waitFor()
  assert.equal(await find('day-eggsCollected').inputValue(), '123')
  await find('filter-flock').selectOption(other.id)
  await find('day').waitFor({ state: 'detached' })
})

test('data never becomes markup', { timeout: 30_000 }, async () => {
  const evil = '<img src=x onerror="window.hacked = true">'
  await find('tab-flocks').click()
  const name = find('flock-name').first()
  await name.fill(evil)
  await name.press('Enter')
  await page.waitForFunction((text) => window.homing.db.collection('flocks').list()[0].name === text, evil)
  await find('tab-audit').click()
  await find('audit-detail').fill(evil)
  await find('audit-add').click()
  await page.locator('#panel-audit').getByText(evil).waitFor()
  assert.deepEqual(await page.evaluate(() => [document.images.length, window.hacked]), [0, undefined])
})

test('a value typed while another device changes the field is not overwritten', { timeout: 30_000 }, async () => {
  await find('tab-flocks').click()
  const breed = find('flock-breed').nth(1)
  await breed.focus()
  await breed.pressSequentially(' half typed')
  const typed = await breed.inputValue()
  await page.evaluate((id) => window.homing.db.collection('flocks').update(id, { breed: 'changed elsewhere', count: 7 }), input.flocks[1].id)
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=flock-count]')[1].value === '7')
  assert.equal(await breed.inputValue(), typed)
  await breed.press('Enter')
  await page.waitForFunction(([id, text]) => window.homing.db.collection('flocks').get(id).breed === text, [input.flocks[1].id, typed])
})

test('what the server refuses is shown with its reason, and can be given up', { timeout: 60_000 }, async () => {
  const refused = input.flocks[2]
  server.answer((asked) => {
    const isRefused = ({ recordId, op }) => recordId === refused.id && op === 'update'
    const answer = JSON.parse(accept({ ...asked, mutations: asked.mutations.filter((mutation) => !isRefused(mutation)) }))
    const refusals = asked.mutations.filter(isRefused).map(({ id }) => ({ id, status: 'rejected', code: 'validation', message: 'A flock has at least one bird.', path: '/count' }))
    return JSON.stringify({ ...answer, results: [...answer.results, ...refusals] })
  })
  await page.evaluate(async () => { while ((await window.homing.db.sync()).remaining > 0) { /* the farm goes in several requests */ } })
  await find('tab-flocks').click()
  const row = page.locator(`[data-testid=flock][data-id="${refused.id}"]`)
  const count = row.locator('[data-testid=flock-count]')
  await count.fill('0')
  await count.press('Enter')
  await row.locator('[data-testid=badge][data-state=failed]').waitFor()
  assert.equal(await count.inputValue(), '0', 'the refused value stays in sight')
  await find('tab-config').click()
  const letter = find('dead-letter')
  assert.match(await letter.textContent(), /A flock has at least one bird\. \(validation at \/count\)/)
  await letter.getByRole('button', { name: /^Discard/ }).click()
  await letter.waitFor({ state: 'detached' })
  await find('tab-flocks').click()
  await row.locator('[data-testid=badge][data-state=synced]').waitFor()
  assert.equal(await count.inputValue(), String(refused.count))
})

test('a notice stays while somebody is on it', { timeout: 30_000 }, async () => {
  const seen = await page.evaluate(async () => {
    const { createNotices } = await import('/notices.js')
    const timers = new Map()
    const [set, clear] = [window.setTimeout, window.clearTimeout]
    const root = document.body.appendChild(document.createElement('div'))
    const pass = () => {
      const due = [...timers.values()]
      timers.clear()
      for (const run of due) run()
    }
    try {
      window.setTimeout = (run) => { timers.set(timers.size + 1, run); return timers.size }
      window.clearTimeout = (id) => timers.delete(id)
      createNotices(root).say('Deleted.', { action: 'Undo', run: () => {} })
      root.querySelector('button').focus()
      pass()
      const focused = root.querySelectorAll('.notice').length
      pass()
      const still = root.querySelectorAll('.notice').length
      document.activeElement.blur()
      const waits = timers.size
      pass()
      return { focused, still, waits, left: root.querySelectorAll('.notice').length }
    } finally {
      Object.assign(window, { setTimeout: set, clearTimeout: clear })
      root.remove()
    }
  })
  assert.deepEqual(seen, { focused: 1, still: 1, waits: 1, left: 0 })
})

test('"Sync now" keeps the focus', { timeout: 30_000 }, async () => {
  let release
  const held = new Promise((resolve) => { release = resolve })
  await page.route(`${server.url}/**`, (route) => held.then(() => route.continue()))
  await find('sync-now').focus()
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.querySelector('[data-testid=sync-now]').matches('[aria-disabled=true], :disabled'))
  await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)) }))
  const focused = () => page.evaluate(() => document.activeElement?.dataset.testid)
  const during = await focused()
  release()
  await page.waitForFunction(() => !document.querySelector('[data-testid=sync-now]').matches('[aria-disabled=true], :disabled'))
  assert.deepEqual([during, await focused()], ['sync-now', 'sync-now'])
  await page.unrouteAll({ behavior: 'wait' })
})

test('a request leaves no listener on the line', { timeout: 30_000 }, async () => {
  const other = await browser.open(`${site.url}?device=line`)
  const left = await other.evaluate(async () => {
    const { createNetwork } = await import('/network.js')
    const { fetch } = createNetwork('line-test')
    const { addEventListener } = AbortSignal.prototype
    let left = 0
    AbortSignal.prototype.addEventListener = function (type, ...rest) {
      left += 1
      return addEventListener.call(this, type, ...rest)
    }
    for (let n = 0; n < 3; n += 1) await fetch('/config.json', { signal: new AbortController().signal })
    return left
  })
  assert.equal(left, 0)
  await other.close()
})

test('two devices side by side, each with its own switch', { timeout: 60_000 }, async () => {
  const both = await browser.open(site.url)
  await both.setViewportSize({ width: 1300, height: 900 })
  const frames = ['a', 'b'].map((id) => both.frameLocator(`[data-testid=frame-${id}]`))
  assert.deepEqual(await Promise.all(frames.map((frame) => frame.locator('h1').textContent())), ['Barn phone', 'Office tablet'])
  await frames[0].locator('[data-testid=online-switch]').uncheck()
  await frames[0].getByText('Offline').first().waitFor()
  assert.equal(await frames[1].locator('[data-testid=online-switch]').isChecked(), true)
  await frames[0].locator('[data-testid=online-switch]').check()
  await both.close()
})

test('none of this made the page complain', () => {
  assert.deepEqual(browser.problems, [])
})

async function assertFits(what = 'the page') {
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
  assert.ok(content <= width, `${what} is ${content} px wide on a screen of ${width}`)
}
