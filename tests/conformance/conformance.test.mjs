// The conformance kit: our server keeps every promise, on both databases; wrong servers break what they are named for.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { CASES } from '../../src/conformance/cases.mjs'
import { conformance } from '../../src/conformance/cli.mjs'
import { startServer } from '../../scripts/support/reference-server.mjs'
import { startDeclared } from './declared-server.mjs'

let server
let token
before(async () => {
  server = await startDeclared()
  token = await server.token('conformance')
})
after(() => server.stop())

const broken = (told) => told.filter(({ error }) => error !== null).map(({ name, error }) => `${name}: ${error.message}`)

/** Each run has a scope of its own: what others wrote is to be read by every new device. */
let runs = 0

async function names(fetch) {
  const told = await conformance(server.url, await server.token(`wrong${runs += 1}`), { fetch, declared: true, otherToken: await server.token('other') })
  assert.equal(told.length, CASES.length)
  return told.filter(({ error }) => error !== null).map(({ name }) => name)
}

test('our server keeps every promise on SQLite', async () => {
  assert.deepEqual(broken(await conformance(server.url, token, { declared: true, otherToken: await server.token('other') })), [])
})

test('our server keeps every promise on PostgreSQL', async () => {
  const database = process.env.HOMING_TEST_POSTGRES
  assert.ok(database, 'HOMING_TEST_POSTGRES names no PostgreSQL; run: npm run test:server')
  const other = await startDeclared({ database })
  try {
    assert.deepEqual(broken(await conformance(other.url, await other.token('conformance'), { declared: true, otherToken: await other.token('other') })), [])
  } finally {
    await other.stop()
  }
})

test('the command says what was kept, and ends with 1 where something was not', async () => {
  const run = (...args) => promisify(execFile)(process.execPath, ['src/conformance/cli.mjs', ...args]).catch((error) => error)
  const { stdout } = await run('conformance', server.url, '--token', token, '--only', 'receipts,scope')
  assert.match(stdout, /^ok {3}receipts .*\nok {3}scope .*\n\n2 kept, 0 broken\n$/s)
  const other = await run('conformance', `${server.url}/nowhere`, '--token', token, '--only', 'receipts')
  assert.deepEqual([other.code, /FAIL receipts[^]*404/.test(other.stdout)], [1, true])
  assert.equal((await run('conformance')).code, 2)
  const alone = await run('conformance', server.url, '--token', token, '--only', 'isolation')
  assert.deepEqual([alone.code, alone.stderr], [2, 'isolation needs --other-token\n'])
  const both = await run('conformance', server.url, '--token', token, '--other-token', await server.token('other'), '--only', 'isolation')
  assert.match(both.stdout, /^ok {3}isolation .*\n\n1 kept, 0 broken\n$/s)
  const simple = await run('conformance', server.url, '--token', token)
  assert.match(simple.stdout, /kept, 0 broken, 6 not asked: isolation \(--other-token\), merging \(--declared\), /)
  assert.deepEqual(JSON.parse((await run('conformance', '--print-schema')).stdout).collections['conformance.counter'], { merge: 'lww', fields: { eggs: 'counter' } })
})

test('the guide names every case in the step that it belongs to', async () => {
  const steps = (await readFile('server/WRITE-YOUR-OWN.md', 'utf8')).split(/^## \d/m).slice(1).map((step) => step.slice(0, step.indexOf(')')))
  const named = steps.flatMap((heading) => [...heading.matchAll(/`([\w-]+)`/g)].map(([, name]) => name))
  assert.deepEqual(named.sort(), CASES.map(({ name }) => name).sort())
})

test('a server that knows no declarations breaks what needs them, and nothing else', async () => {
  const plain = await startServer({ schema: 'src/schemas/egglogu.schema.json', args: ['--rate', '0'] })
  try {
    const told = await conformance(plain.url, await plain.token('conformance'), { declared: true })
    assert.deepEqual(told.filter(({ error }) => error !== null).map(({ name }) => name), ['merging', 'joining', 'schemas', 'ordinals', 'unique'])
    assert.deepEqual(broken(await conformance(plain.url, await plain.token('conformance'))), [], 'nor are they asked for')
  } finally {
    await plain.stop()
  }
})

test('a server without receipts breaks "receipts"', async () => {
  // It sees a new mutation in each that comes.
  let n = 0
  const wrong = async (url, init) => {
    // What JavaScript cannot say again is left as it is.
    if (init.body === undefined || init.body.includes('1e400')) return fetch(url, init)
    const request = JSON.parse(init.body)
    const given = new Map((request.mutations ?? []).map(({ id }) => [id, `forgetful${process.pid}-${++n}:1`]))
    const renamed = request.mutations?.map((mutation) => ({ ...mutation, id: given.get(mutation.id), dependsOn: mutation.dependsOn?.map((id) => given.get(id) ?? id) }))
    const answer = await fetch(url, { ...init, body: JSON.stringify({ ...request, mutations: renamed }) })
    let text = await answer.text()
    for (const [id, own] of given) text = text.replaceAll(`"${own}"`, `"${id}"`)
    return new Response(text, answer)
  }
  const found = await names(wrong)
  assert.ok(found.includes('receipts'), String(found))
  assert.deepEqual(found.filter((name) => !['receipts', 'recut', 'mutation-reuse', 'settled', 'restored'].includes(name)), [], 'what has nothing to do with receipts is kept')
})

test('a server whose cursor is a time breaks "two-clocks"', async () => {
  const wrong = async (url, init) => {
    if (init.body !== undefined) return fetch(url, init)
    const asked = new URL(url)
    const since = Number(asked.searchParams.get('cursor')?.match(/^c1\.t(\d+)$/)?.[1] ?? 0)
    asked.searchParams.delete('cursor')
    asked.searchParams.set('limit', '5000')
    const answer = await (await fetch(asked, init)).json()
    const stamp = (row) => Date.parse(row._updatedAt)
    const rows = answer.changes.flatMap(({ records }) => records)
    const changes = answer.changes.map(({ collection, records }) => ({ collection, records: records.filter((row) => stamp(row) > since) }))
    return Response.json({ ...answer, changes, cursor: `c1.t${Math.max(since, ...rows.map(stamp))}`, hasMore: false })
  }
  assert.ok((await names(wrong)).includes('two-clocks'))
})

test('a server that overwrites the audit log breaks "append-only"', async () => {
  // To it these are rows like any other.
  const wrong = async (url, init) => {
    const answer = await fetch(url, init.body === undefined ? init : { ...init, body: init.body.replaceAll('$row_', 'overwritten_') })
    return new Response((await answer.text()).replaceAll('overwritten_', '$row_'), answer)
  }
  assert.deepEqual(await names(wrong), ['append-only'])
})
