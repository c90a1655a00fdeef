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
      const body = JSON.stringify(device.request([device.mutation('create', run.id('stranger'), {})]))
      const said = []
      for (const token of ['', 'nonsense', `${run.token.slice(0, -3)}abc`]) {
        const answer = await run.ask({ method: 'POST', body }, '', token)
        refused(answer, 401, 'auth-required')
        said.push(answer.body.error.message)
      }
      same(new Set(said).size, 1, 'the answers tell bad tokens apart')
      same((await run.device('reader').pull()).row(run.id('stranger')), undefined)
    },
  },
  {
    name: 'scope',
    promise: 'a request of another scope is refused with 409 before anything is applied',
    async story(run) {
      const device = run.device('a')
      const body = JSON.stringify(device.request([device.mutation('create', run.id('elsewhere'), {})], { scope: `not-${run.name}` }))
      refused(await run.ask({ method: 'POST', body }), 409, 'scope-changed')
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
