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
]

for (const [what, caughtBy, says, how] of WRONG) {
  test(`${what}: "${caughtBy}"`, async () => assert.match(await said(caughtBy, spoiled(how)) ?? 'kept', says))
}
