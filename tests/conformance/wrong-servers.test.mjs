// Servers that are wrong in one way, each a reference server behind something that spoils what comes by: the kit says so in the case
// that is named. Those that break the promises on whole rows are in `conformance.test.mjs`.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { conformance } from '../../src/conformance/cli.mjs'
import { startDeclared } from './declared-server.mjs'

let server
let tokens
before(async () => {
  server = await startDeclared()
  tokens = { own: await server.token('wrong'), other: await server.token('another') }
})
after(() => server.stop())

/** What the kit says of one case: a message, or `undefined` where the promise is kept. */
async function said(name, fetch) {
  const [{ error }] = await conformance(server.url, tokens.own, { only: [name], otherToken: tokens.other, fetch })
  return error?.message
}

/** A server in front of which `request` spoils what is sent and `push` and `pull` what is answered, in place. */
const spoiled = ({ request = () => {}, push = () => {}, pull = () => {} }) => async (url, init) => {
  const asked = init.body === undefined ? null : JSON.parse(init.body)
  if (asked !== null) request(asked)
  const answer = await fetch(url, asked === null ? init : { ...init, body: JSON.stringify(asked) })
  const body = await answer.json()
  if (answer.ok) (asked === null ? pull : push)(body, asked ?? new URL(url))
  return Response.json(body, { status: answer.status, headers: answer.headers })
}
const both = (spoil) => ({ push: spoil, pull: spoil })

function skips(body) {
  if (!body.reset) Object.assign(body, { changes: [], hasMore: false, cursor: `c1.${body.rev}..${body.epoch}` })
}

/** Hooks for a server that changes mutations by what is stored: `change(mutation, there)`, `there` with `rev` and `deleted`. */
function knowing(change) {
  const rows = new Map()
  const note = ({ changes }) => {
    for (const { collection, records } of changes) for (const { id, _rev, _deletedAt } of records) rows.set(`${collection}/${id}`, { rev: _rev, deleted: _deletedAt != null })
  }
  return {
    request: ({ mutations }) => { for (const mutation of mutations) Object.assign(mutation, change(mutation, rows.get(`${mutation.collection}/${mutation.recordId}`))) },
    push(body, { mutations }) {
      note(body)
      for (const [n, { status, rev }] of body.results.entries()) {
        if (['applied', 'merged'].includes(status) && mutations[n] !== undefined) rows.set(`${mutations[n].collection}/${mutations[n].recordId}`, { rev, deleted: mutations[n].op === 'delete' })
      }
    },
    pull: note,
  }
}

/** Every row and record of an answer. */
const versions = ({ changes, results }) => [...changes.flatMap(({ records }) => records), ...results.flatMap(({ record }) => record ?? [])]
const without = (member) => both((body) => { for (const row of versions(body)) delete row[member] })

/** Nobody is asked where a rule or a person should decide: the newcomer has lost, and that is all. */
const hushed = {
  push: (body) => { for (const result of body.results) if (result.status === 'conflict') Object.assign(result, { status: 'superseded', archived: { ...result.archived, status: 'automatic' } }) },
  pull: (body) => { for (const row of versions(body)) if (row.status === 'unresolved') row.status = 'automatic' },
}

/** Its receipts are kept by the client of the request: under that name it sees every mutation for the first time. */
const renamed = {
  request({ clientId, mutations }) {
    for (const mutation of mutations) if (!mutation.id.startsWith(`${clientId}:`)) mutation.id = `${clientId}~${mutation.id}`
  },
  push(body) {
    for (const result of body.results) result.id = result.id.replace(/^.*~/, '')
  },
}

/** @type {readonly [what: string, caughtBy: string, says: RegExp, how: Parameters<typeof spoiled>[0]][]} */
const WRONG = [
  ...['protocol', 'requestId', 'serverTime', 'scope', 'epoch', 'results', 'changes', 'rev', 'cursor', 'hasMore', 'reset', 'horizon'].map((member) =>
    [`no answer has "${member}"`, 'receipts', new RegExp(`"${member}"`), both((body) => { delete body[member] })]),
  ['its clock is an hour off', 'receipts', /serverTime/, both((body) => { body.serverTime = new Date(Date.now() - 3_600_000).toISOString() })],
  ['it has another scope every time', 'receipts', /one token opens one scope/, both((body) => { body.scope = body.requestId })],
  ['it answers in another order', 'recut', /one result for each mutation, in their order/, { push: (body) => { body.results.reverse() } }],
  ['it answers only what went wrong', 'recut', /one result for each of/, { push: (body) => { body.results = body.results.filter(({ status }) => status !== 'applied') } }],
  ['it sends a page in any order', 'pages', /rises within a page/, { pull: (body) => { body.changes.reverse().forEach(({ records }) => records.reverse()) } }],
  ['its "rev" is of before the push', 'receipts', /"rev"/, { push: (body) => { body.rev -= 100 } }],
  ['no result has a record', 'clock-ahead', /"record" with the new stamp/, { push: (body) => { for (const result of body.results) delete result.record } }],
  ['a result has a record only where a stamp was lowered', 'clock-behind', /another version is stored/, { push: (body) => { for (const result of body.results) if (!result.clamped) delete result.record } }],
  ...['push-answers', 'concurrent-writers', 'interleavings'].map((name) => ['the cursor in the answer to a push passes over what it does not tell', name, /never|other rows|different rows/, { push: skips }]),
  ['the answer to a push tells only the first page', 'push-answers', /never reached who pushed/, { push: (body) => { Object.assign(body, { cursor: `c1.${body.rev}..${body.epoch}`, hasMore: false }) } }],
  ['a delete of what others edited simply deletes', 'verdicts', /^delete on a live row, made on its stale version: was answered applied/, knowing(({ op }, there) => (op === 'delete' && there?.deleted === false ? { baseRev: there.rev } : {}))],
  ['a create of what is there is an edit of it', 'verdicts', /^create on a live row, made on nothing: was answered applied/, knowing(({ op }, there) => (op === 'create' && there ? { op: 'update', baseRev: there.rev } : {}))],
  ['an update of what is not there creates it', 'verdicts', /^update on no row, made on its stale version: was answered applied/, knowing(({ op, imported }, there) => (op === 'update' && !there ? { op: 'create', imported } : {}))],
  ['an import is a create like any other', 'verdicts', /^create \(imported\) on a live row, made on nothing: was answered conflict/, { request: ({ mutations }) => { for (const mutation of mutations) delete mutation.imported } }],
  ['a person is never asked', 'verdicts', /conflict/, { push: (body) => { for (const result of body.results) if (result.status === 'conflict') result.status = 'superseded' } }],
  ['receipts are kept by the client of the request', 'restored', /it was applied already/, renamed],
  ['a decision is an edit like any other', 'decision', /./, { request: ({ mutations }) => { for (const mutation of mutations) delete mutation.resolves } }],
  ['it tells nobody the state of counters and sets', 'merging', /its _crdt/, without('_crdt')],
  ['it stores no state of counters and sets', 'joining', /counter, in the order/, { request: ({ mutations }) => { for (const { record } of mutations) delete record._crdt } }],
  ['it tells nobody when a field was written', 'merging', /its _fieldTimes/, without('_fieldTimes')],
  ['a conflict is a version that lost', 'merging', /answered superseded.*, not conflict/, hushed],
  ['what waits for a person is shown as settled', 'merging', /the status of what is in the archive/, { pull: hushed.pull }],
  ['a refused cursor is no reset for who only reads', 'epoch', /a pull with a cursor of another epoch/, { pull: (body) => { body.reset = false } }],
  ['behind a reset only the first page is told', 'epoch', /who follows the reset of a push/, { push: (body) => { if (body.reset) Object.assign(body, { hasMore: false, cursor: `c1.${body.rev}..${body.epoch}` }) } }],
  ['every collection is declared as the device says', 'schemas', /schema-mismatch/, { request: (request) => { request.schemas = {} } }],
  ['numbers become what JavaScript makes of them', 'bad-input', /a number that/, {}],
]

test('a server that refuses a request for one bad record in it: "bad-input"', async () => {
  const wrong = (url, init) => (init.body?.includes('1e400') ? Response.json({ error: { code: 'malformed' } }, { status: 400 }) : fetch(url, init))
  assert.match(await said('bad-input', wrong) ?? 'kept', /spoils the whole request/)
})

test('a server that tells its rows to everybody: "tokens"', async () => {
  const wrong = (url, init) => fetch(url, init.body === undefined ? { ...init, headers: { authorization: `Bearer ${tokens.own}` } } : init)
  assert.match(await said('tokens', wrong) ?? 'kept', /expected 401 auth-required/)
})

/** To it the other scope is this one, but for its name; `when` says in which requests. */
const shared = (when) => async (url, init) => {
  if (init.headers.authorization !== `Bearer ${tokens.other}` || !when(init)) return fetch(url, init)
  const answer = await fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${tokens.own}` } })
  return Response.json({ ...await answer.json(), scope: 'another' }, { status: answer.status })
}

test('a server that keeps scopes apart only when it writes, or only when it reads: "isolation"', async () => {
  assert.match(await said('isolation', shared(({ body }) => body === undefined)) ?? 'kept', /a row of another scope is told/)
  assert.match(await said('isolation', shared(({ body }) => body !== undefined)) ?? 'kept', /the same ids in another scope are others|one token opens one scope/)
})

test('a server that does not look at since=: "since"', async () => {
  assert.match(await said('since', (url, init) => fetch(url.replace('since=', 'hence='), init)) ?? 'kept', /what came before that time was told/)
})

test('what nothing spoils is kept, in every case that is named here', async () => {
  for (const name of new Set([...WRONG.map(([, name]) => name), 'since', 'tokens', 'isolation'])) assert.equal(await said(name, fetch), undefined, name)
})

for (const [what, caughtBy, says, how] of WRONG) {
  test(`${what}: "${caughtBy}"`, async () => assert.match(await said(caughtBy, spoiled(how)) ?? 'kept', says))
}
