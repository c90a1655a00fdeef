// What comes again has its effect once.

import { deepStrictEqual as same } from 'node:assert'
import { DAY } from './client.mjs'

/** @type {readonly import('./cases.mjs').Case[]} */
export const ONCE = [
  {
    name: 'receipts',
    promise: 'a request that comes again, five times, has one effect and gets the original results',
    async story(run) {
      const device = run.device('a')
      const id = run.id('once')
      const [made] = await device.push(device.mutation('create', id, { n: 1 }))
      const first = device.mutation('update', id, { n: 2 }, { baseRev: made.rev, at: 1000 })
      const [before] = await device.push(first)
      const [last] = await device.push(device.mutation('update', id, { n: 3 }, { baseRev: before.rev, at: 2000 }))
      for (let time = 0; time < 5; time += 1) {
        const [again] = await device.push(first)
        same([again.status, again.rev, again.replayed], ['applied', before.rev, true], 'the repeated mutation is answered as the first time, with replayed: true')
      }
      const reader = await run.device('reader').pull()
      same([reader.row(id).n, reader.row(id)._rev, reader.archive(id).length], [3, last.rev, 0], 'a repetition changes nothing and archives nothing')
    },
  },
  {
    name: 'recut',
    promise: 'the same mutations in other batches are the same mutations',
    async story(run) {
      const device = run.device('a')
      const mutations = [1, 2, 3, 4].map((n) => device.mutation('create', run.id(`cut${n}`), { n }))
      const [a, b] = [await device.push(mutations[0], mutations[1], mutations[2]), await device.push(mutations[2], mutations[3])]
      const all = await device.push(...mutations)
      same(all.map(({ rev }) => rev), [a[0].rev, a[1].rev, a[2].rev, b[1].rev], 'each mutation keeps its first result, however batches are cut')
    },
  },
  {
    name: 'mutation-reuse',
    promise: 'an id that was used for another mutation is refused',
    async story(run) {
      const device = run.device('a')
      const mutation = device.mutation('create', run.id('reuse'), { n: 1 })
      await device.push(mutation)
      const [other] = await device.push({ ...mutation, record: { ...mutation.record, n: 2 } })
      same([other.status, other.code], ['rejected', 'mutation-reuse'])
      same((await run.device('reader').pull()).row(run.id('reuse')).n, 1)
    },
  },
  {
    name: 'settled',
    promise: 'at or below settledThrough nothing has an effect any more',
    async story(run) {
      const device = run.device('a')
      device.seq = 5
      await device.send(device.request([device.mutation('create', run.id('settled'), { n: 1 })], { settledThrough: 5 }))
      device.seq = 2
      const [late] = await device.push(device.mutation('create', run.id('late'), { n: 1 }))
      same(late.status, 'expired')
      same((await run.device('reader').pull()).row(run.id('late')), undefined)
    },
  },
  {
    name: 'restored',
    promise: 'a receipt belongs to the client of the mutation id, whoever sends it: a restored backup sends old ids under a new clientId',
    async story(run) {
      const [old, restored] = [run.device('old'), run.device('restored')]
      const id = run.id('restored')
      const create = old.mutation('create', id, { n: 1 }, { at: -2000 })
      const edit = old.mutation('update', id, { n: 2 }, { at: -1000 })
      const [made] = await old.push(create)
      // What the new client has settled says nothing about the numbers of the old one.
      const { results: [again, fresh] } = await restored.send(restored.request([create, { ...edit, baseRev: made.rev }], { settledThrough: 9 }))
      same([again.status, again.rev, again.replayed], ['applied', made.rev, true], 'it was applied already')
      same([fresh.status, fresh.replayed ?? false], ['applied', false], 'it was never sent')
      const [own] = await restored.push({ ...restored.mutation('create', run.id('own'), {}), id: `${restored.clientId}:10` })
      same([own.status, own.replayed ?? false], ['applied', false], 'numbers of two clients are two')
      const [late] = await old.push({ ...edit, baseRev: made.rev })
      same([late.status, late.rev, late.replayed], ['applied', fresh.rev, true], 'and the old one hears the same')
      const reader = await run.device('reader').pull()
      same([reader.row(id).n, reader.row(id)._rev, reader.archive(id).length], [2, fresh.rev, 0])
    },
  },
  {
    name: 'record-only',
    promise: 'rows pushed without mutations are recognised by their content',
    async story(run) {
      const device = run.device('simple')
      const record = { id: run.id('simple'), n: 1, _updatedAt: new Date(Date.now() - DAY).toISOString() }
      const push = () => device.send(device.request([], { changes: [{ collection: run.collection, records: [record, { n: 7 }] }] }))
      await push()
      const reader = await run.device('reader').pull()
      const before = reader.state()
      await push()
      same((await reader.pull()).state(), before, 'the same rows pushed twice are there twice, or changed')
      same([...reader.rows].filter(([key]) => key.startsWith(`${run.collection}/$row_`)).length, 1)
    },
  },
]
