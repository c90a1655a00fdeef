// The README is true: its first js block runs, word for word, in a real Chromium with the built package, the one of "Testing your app"
// in Node. Only what the README cannot bring is added here: data of an old app, a token, and answers on the address of the server.

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { ROOT } from '../scripts/support/environment.mjs'
import { run } from '../scripts/support/process.mjs'
import { openSite } from './js/page.mjs'
import { answerPage } from './support/fake-server.mjs'

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const START = /^```js\n(.*?)^```$/ms.exec(README)?.[1]
const TESTING = /^## Testing your app$.*?^```js\n(.*?)^```$/ms.exec(README)?.[1]
const SERVER = 'http://127.0.0.1:8787'
const TOKEN = 'token-of-the-readme'
const OLD_FARM = {
  flocks: [{ id: 'f1', name: 'Layer Group 1', count: 380, status: 'active' }, { id: 'f2', name: 'Layer Group 2', count: 395, status: 'active' }],
  settings: { darkMode: false },
  auditLog: [{ user: 'Ana', action: 'create' }],
}

let site
const pushed = []

before(async () => {
  assert.ok(START, 'README.md has no js block')
  site = await openSite({ files: { '/start.js': START } })
  await site.browser.context.route(`${SERVER}/**`, async (route) => {
    const request = route.request()
    assert.equal(request.headers().authorization, `Bearer ${TOKEN}`)
    const asked = request.method() === 'POST' ? request.postDataJSON() : { mutations: [] }
    const body = answerPage({ asked, rev: 100 + pushed.length })
    pushed.push(...asked.mutations)
    await route.fulfill({ contentType: 'application/json', headers: { 'access-control-allow-origin': '*' }, body })
  })
})
after(() => site?.close())

test('it is about 30 lines', () => {
  assert.ok(START.trimEnd().split('\n').length <= 36)
})

test('the first block of the README runs and does what it says', { timeout: 60_000 }, async () => {
  const page = await site.open()
  const said = []
  page.on('console', (message) => said.push(message.text()))
  await page.evaluate(([farm, token]) => {
    localStorage.setItem('egglogu_data', JSON.stringify(farm))
    localStorage.setItem('token', token)
  }, [OLD_FARM, TOKEN])
  const serverSaid = page.waitForEvent('console', { predicate: (message) => message.text().startsWith('server ') })
  await page.evaluate(() => import('/start.js').then(() => {}))
  await serverSaid

  const lines = said.filter((line) => !line.startsWith('pending '))
  assert.deepEqual(lines.filter((line) => !line.startsWith('server ')), [
    'at once Layer Group 3',
    'local Layer Group 3',
    'local Layer Group 1',
    'local Layer Group 2',
    'active Layer Group 1: 380, Layer Group 3: 411',
  ])
  assert.ok(lines.includes('server applied'))
  assert.ok(said.includes('pending 1'), `status was not told: ${said}`)
  assert.equal(await page.evaluate(() => localStorage.getItem('egglogu_data')), JSON.stringify(OLD_FARM), 'the original stays where it is')
  await page.close()

  // Another page finds what was written, and everything was sent.
  const next = await site.open()
  const stored = await next.evaluate(async (url) => {
    const db = await openDatabase({ name: 'my-farm', sync: { url, auto: false, getToken: async () => localStorage.getItem('token') } })
    do await db.sync()
    while (db.status.getSnapshot().pending > 0)
    const flocks = db.collection('flocks').list({ orderBy: 'name' }).map(({ name, count, status }) => [name, count, status])
    const states = db.collection('flocks').list().map(({ id }) => db.collection('flocks').state(id))
    const audit = db.collection('auditLog').count()
    await db.close()
    return { flocks, states, audit }
  }, SERVER)
  assert.deepEqual(stored, {
    flocks: [['Layer Group 1', 380, 'active'], ['Layer Group 2', 395, 'sold'], ['Layer Group 3', 411, 'active']],
    states: ['synced', 'synced', 'synced'],
    audit: 1,
  })
  assert.deepEqual([...new Set(pushed.map(({ collection }) => collection))].filter((name) => !name.startsWith('$')).sort(), ['auditLog', 'flocks', 'settings'])
  assert.deepEqual(site.problems, [])
})

test('the block about testing runs, under the name a user imports', { timeout: 60_000 }, async () => {
  assert.ok(TESTING, 'README.md has no js block under "Testing your app"')
  assert.ok(TESTING.split('\n').filter((line) => line !== '').length <= 19, 'it is about 15 lines')
  // Inside the project, so that the name is the project's own.
  mkdirSync(`${ROOT}/build`, { recursive: true })
  writeFileSync(`${ROOT}/build/readme.test.mjs`, TESTING)
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', 'build/readme.test.mjs'], { cwd: ROOT, env, quiet: true })
  assert.match(stdout, /^# pass 1$/m)
})
