// Who is let in, and what he sees.

import { deepStrictEqual as same, ok } from 'node:assert'
import { refused } from './answers.mjs'

/** @type {readonly import('./cases.mjs').Case[]} */
export const ACCESS = [
  {
    name: 'tokens',
    promise: 'without a valid token nothing is applied, and every bad token gets the same answer',
    async story(run) {
      const device = run.device('a')
      await device.push(device.mutation('create', run.id('secret'), {}))
      const body = JSON.stringify(device.request([device.mutation('create', run.id('stranger'), {})]))
      const query = `?${new URLSearchParams({ protocol: '1', clientId: device.clientId, requestId: run.id('stranger'), limit: '500' })}`
      const said = []
      for (const token of ['', 'nonsense', `${run.token.slice(0, -3)}abc`]) {
        for (const answer of [await run.ask({ method: 'POST', body }, '', token), await run.ask({}, query, token)]) {
          refused(answer, 401, 'auth-required')
          same(JSON.stringify(answer.body).includes(run.id('secret')), false, 'what is refused tells no row')
          said.push(answer.body.error.message)
        }
      }
      same(new Set(said).size, 1, 'the answers tell bad tokens apart')
      same((await run.device('reader').pull()).row(run.id('stranger')), undefined)
    },
  },
  {
    name: 'isolation',
    needs: 'other-token',
    promise: 'another scope sees no row of this one, changes none, and has ids, receipts and conflicts of its own',
    async story(run) {
      const [mine, reader] = [run.device('same'), run.device('reader')]
      // Two phones that were set up from one backup: the same client, the same ids, other owners.
      const theirs = run.device('same', { token: run.otherToken })
      const id = run.id('both')
      const [made] = await mine.push(mine.mutation('create', id, { n: 1 }, { at: -2000 }))
      const before = await run.device('before', { token: run.otherToken }).pull()
      ok(before.heard.scope !== mine.heard.scope, 'the two tokens open one scope: give --other-token that of another one')
      same([before.row(id), [...before.rows.values()].filter((row) => JSON.stringify(row).includes(run.name)).length], [undefined, 0], 'a row of another scope is told')
      const [other] = await theirs.push(theirs.mutation('create', id, { n: 2 }, { at: -1000 }))
      same([other.status, other.replayed ?? false, other.archived], ['applied', false, undefined], 'the same ids in another scope are others')
      const [gone] = await theirs.push(theirs.mutation('delete', id, { n: 2 }, { baseRev: other.rev }))
      same(gone.status, 'applied')
      await reader.pull()
      same([reader.row(id).n, reader.row(id)._rev, reader.row(id)._deletedAt ?? null, reader.archive(id).length], [1, made.rev, null, 0], 'another scope changed a row of this one')
      // A cursor of ours tells them where we stand, and nothing else.
      const curious = run.device('curious', { token: run.otherToken })
      curious.cursor = reader.cursor
      await curious.pull()
      same(curious.row(id)?.n === 1, false, 'a row of another scope is told to who has its cursor')
      const named = JSON.stringify(theirs.request([theirs.mutation('create', run.id('named'), {})], { scope: mine.heard.scope }))
      refused(await run.ask({ method: 'POST', body: named }, '', run.otherToken), 409, 'scope-changed')
      same((await reader.pull()).row(run.id('named')), undefined)
    },
  },
  {
    name: 'scope',
    promise: 'a request of another scope is refused with 409 before anything is applied',
    async story(run) {
      const device = run.device('a')
      const body = JSON.stringify(device.request([device.mutation('create', run.id('elsewhere'), {})], { scope: `not-${run.name}` }))
      refused(await run.ask({ method: 'POST', body }), 409, 'scope-changed')
      refused(await run.ask({}, `?${new URLSearchParams({ protocol: '1', clientId: device.clientId, requestId: run.id('elsewhere'), scope: `not-${run.name}` })}`), 409, 'scope-changed')
      same((await run.device('reader').pull()).row(run.id('elsewhere')), undefined)
    },
  },
  {
    name: 'protocol',
    promise: 'another protocol is answered 426 with the range that is understood',
    async story(run) {
      const answer = await run.ask({ method: 'POST', body: JSON.stringify({ ...run.device('a').request([]), protocol: 999 }) })
      refused(answer, 426, 'protocol-unsupported')
      ok(Number.isInteger(answer.body.supported?.max), 'the range of protocols that are understood')
    },
  },
]
