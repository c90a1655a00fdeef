// What belongs together, and what must not hold up the rest.

import { deepStrictEqual as same, ok } from 'node:assert'

const statuses = (results) => results.map(({ status }) => status)

/** @type {readonly import('./cases.mjs').Case[]} */
export const TOGETHER = [
  {
    name: 'parents',
    promise: 'what depends on a refused mutation is blocked, its siblings are not',
    async story(run) {
      const device = run.device('a')
      const bad = device.mutation('create', run.id('parent'), { n: 1 })
      bad.collection = '_conflictArchive'
      const child = device.mutation('create', run.id('child'), { parent: bad.recordId }, { dependsOn: [bad.id] })
      const sibling = device.mutation('create', run.id('sibling'), {})
      same(statuses(await device.push(bad, child, sibling)), ['rejected', 'blocked', 'applied'])
    },
  },
  {
    name: 'groups',
    promise: 'mutations of one group are applied or refused together',
    async story(run) {
      const device = run.device('a')
      const group = run.id('group')
      const good = device.mutation('create', run.id('grouped'), { n: 1 }, { group })
      const bad = { ...device.mutation('create', run.id('bad'), {}, { group }), collection: '_conflictArchive' }
      const results = await device.push(good, bad)
      ok(results.every(({ status }) => status === 'rejected'), String(statuses(results)))
      same((await run.device('reader').pull()).row(run.id('grouped')), undefined)
    },
  },
]
