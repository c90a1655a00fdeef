// Every row reaches every reader.

import { deepStrictEqual as same, ok } from 'node:assert'
import { DAY } from './client.mjs'

/** A size of which the whole scope is some ten pages: it may be large, from runs before. */
async function tenth(run) {
  const { rows } = await run.device('counting').pull()
  return Math.min(500, Math.max(4, Math.ceil(rows.size / 10)))
}

/** @type {readonly import('./cases.mjs').Case[]} */
export const DELIVERY = [
  {
    name: 'two-clocks',
    promise: 'a row is delivered because it is new to the reader, whatever its stamp: cursors are not times',
    async story(run) {
      const [a, b] = [run.device('a'), run.device('b')]
      await a.push(a.mutation('create', run.id('today'), { n: 1 }))
      const reader = await run.device('reader').pull()
      await b.push(b.mutation('create', run.id('written-last-week'), { n: 1 }, { at: -7 * DAY }))
      await reader.pull()
      ok(reader.row(run.id('written-last-week')), 'a row written offline a week ago and pushed just now was not delivered')
    },
  },
  {
    name: 'pages',
    promise: 'pages end anywhere, also between rows of one stamp and one push, and lose none',
    async story(run) {
      const device = run.device('a')
      const at = -DAY
      const mutations = Array.from({ length: 23 }, (_, n) => device.mutation('create', run.id(`page${n}`), { n }, { at }))
      const stamp = mutations[0].updatedAt
      for (const mutation of mutations) Object.assign(mutation, { updatedAt: stamp, record: { ...mutation.record, _updatedAt: stamp } })
      const reader = await run.device('reader').pull()
      await device.push(...mutations)
      await reader.pull(5)
      same(mutations.filter(({ recordId }) => reader.row(recordId) === undefined).length, 0, 'rows were lost at the end of a page')
    },
  },
  {
    name: 'push-during-pull',
    promise: 'rows that change while a device pages are delivered in the end',
    async story(run) {
      const device = run.device('a')
      const made = await device.push(...Array.from({ length: 9 }, (_, n) => device.mutation('create', run.id(`during${n}`), { n })))
      const reader = run.device('reader')
      const limit = await tenth(run)
      let more = await reader.page(limit)
      await device.push(device.mutation('update', run.id('during0'), { n: 100 }, { baseRev: made[0].rev, at: 1000 }), device.mutation('create', run.id('during9'), { n: 9 }))
      while (more.hasMore) more = await reader.page(limit)
      await reader.pull()
      same([reader.row(run.id('during0')).n, reader.row(run.id('during9'))?.n], [100, 9])
    },
  },
  {
    name: 'push-answers',
    promise: 'the answer to a push brings rows, too, others\' and one\'s own, page by page; its cursor passes over none',
    async story(run) {
      const [a, b] = [await run.device('a', { limit: 5 }).pull(), await run.device('b', { limit: 5 }).pull()]
      const written = []
      const write = async (device, ...names) => {
        written.push(...names.map((name) => run.id(name)))
        return device.send(device.request(names.map((name) => device.mutation('create', run.id(name), {})), { limit: device.limit }))
      }
      const lost = (device) => written.filter((id) => device.row(id) === undefined)
      await write(b, ...Array.from({ length: 12 }, (_, n) => `theirs${n}`))
      if ((await write(a, 'mine')).hasMore) await a.pull(5)
      same(lost(a), [], 'rows of others, several pages of them, or its own, never reached who pushed')
      if ((await write(b, 'more')).hasMore) await b.pull(5)
      same(lost(b), [])
      // Whoever says that there is no more has told everything.
      if ((await write(a, 'last')).hasMore) await a.pull(5)
      same(lost(a), [], 'with hasMore: false nothing is left to be told')
      const fresh = (await run.device('fresh').pull()).state()
      await b.pull()
      for (const device of [a, b]) same(device.state(), fresh, 'a device holds other rows than a new one')
    },
  },
  {
    name: 'concurrent-writers',
    promise: 'a reader that pulls while many write misses nothing: _rev grows in the order in which commits become visible',
    async story(run) {
      let done = false
      const expected = []
      const writing = []
      const write = async (_, w) => {
        const device = run.device(`w${w}`, { limit: 3 })
        writing.push(device)
        for (let n = 0; n < 10; n += 1) {
          expected.push(run.id(`many${w}-${n}`))
          await device.push(device.mutation('create', run.id(`many${w}-${n}`), { n }))
        }
      }
      const reader = await run.device('reader').pull()
      const read = async () => { while (!done) await reader.pull(7) }
      const writers = Promise.all(Array.from({ length: 8 }, write)).finally(() => { done = true })
      // Whoever fails first, nobody is left behind.
      const failed = (await Promise.allSettled([writers, read()])).find(({ status }) => status === 'rejected')
      if (failed !== undefined) throw failed.reason
      await Promise.all([reader, ...writing].map((device) => device.pull()))
      for (const device of [reader, ...writing]) same(expected.filter((id) => device.row(id) === undefined), [], `rows that ${device === reader ? 'a concurrent reader' : 'one of the writers'} never saw`)
    },
  },
  {
    name: 'epoch',
    promise: 'a cursor of another incarnation of the data means a reset, and nothing of that request is evaluated',
    async story(run) {
      const author = run.device('author')
      await author.push(...Array.from({ length: 12 }, (_, n) => author.mutation('create', run.id(`epoch${n}`), { n })))
      const limit = await tenth(run)
      const [pushing, pulling, reader] = [run.device('pushing'), run.device('pulling'), run.device('reader')]
      for (const device of [pushing, pulling]) {
        // What the snapshot lacks is to go.
        device.take({ changes: [{ collection: run.collection, records: [{ id: run.id('of-another-time'), _rev: 1 }] }], cursor: 'c1.5..another' })
      }
      const { reset, results } = await pushing.send(pushing.request([pushing.mutation('create', run.id('unheard'), {})], { limit }))
      same([reset, results], [true, []], 'a push with a cursor of another epoch')
      same((await pulling.page(limit)).reset, true, 'a pull with a cursor of another epoch')
      await Promise.all([reader.pull(), pushing.pull(limit), pulling.pull(limit)])
      same(reader.row(run.id('unheard')), undefined, 'something of a request was applied whose cursor was refused')
      for (const [what, device] of Object.entries({ push: pushing, pull: pulling })) {
        same(device.state(), reader.state(), `who follows the reset of a ${what} to its end holds other rows than a new device`)
        same([device.heard.reset, device.heard.epoch], [false, reader.heard.epoch], `the pages behind the reset of a ${what}`)
      }
    },
  },
  {
    name: 'since',
    promise: 'who remembers only a time gets with since= what the server received from then on, whatever its stamp',
    async story(run) {
      const device = run.device('a')
      const { serverTime } = await device.send(device.request([]))
      await device.push(device.mutation('create', run.id('since'), {}, { at: -7 * DAY }))
      // The first page goes by the time, those behind it by its cursor.
      const ids = async (since) => {
        const reader = run.device('since')
        if ((await reader.page(500, { since })).hasMore) await reader.pull()
        return [...reader.rows.values()].map(({ id }) => id)
      }
      ok((await ids(serverTime)).includes(run.id('since')), 'a row that came after that time was not told')
      same(await ids(new Date(Date.parse(serverTime) + DAY).toISOString()), [], 'what came before that time was told')
    },
  },
  {
    name: 'interleavings',
    promise: 'after any order of edits, deletes and pulls, each answer taken in, every device holds what a new one gets',
    async story(run) {
      const devices = await Promise.all(['x', 'y', 'z'].map((name, n) => run.device(name, { limit: 1 + n }).pull()))
      let seed = 20_250_601
      const pick = (n) => { seed = (seed * 48_271) % 2_147_483_647; return seed % n }
      for (let step = 0; step < 120; step += 1) {
        const device = devices[pick(devices.length)]
        const id = run.id(`any${pick(6)}`)
        const row = device.row(id)
        if (pick(4) === 0) await device.pull(1 + pick(9))
        else if (row === undefined || row._deletedAt != null) await device.push(device.mutation('create', id, { n: step }, { at: step - 500 }))
        else await device.push(device.mutation(pick(5) === 0 ? 'delete' : 'update', id, { n: step }, { baseRev: row._rev, at: step - 500 }))
      }
      for (const device of devices) await device.pull()
      const fresh = (await run.device('fresh').pull()).state()
      for (const device of devices) same(device.state(), fresh, 'two devices hold different rows')
    },
  },
]
