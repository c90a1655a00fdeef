// What a server must do so that no device loses, doubles or misses anything. Each case is a promise and a story that breaks
// where it is not kept. Not here: those about collections that the server must declare (`declared.mjs`), how it is asked
// (`client.mjs`), how it is told (`cli.mjs`).

import { deepStrictEqual as same, ok } from 'node:assert'
import { DAY, content } from './client.mjs'
import { DECLARED } from './declared.mjs'

const statuses = (results) => results.map(({ status }) => status)

/** @type {readonly { name: string, promise: string, declared?: true, story: (run: import('./client.mjs').Run, vectors: Vectors) => Promise<void> }[]} `declared`: it needs the collections of `declared.mjs` */
export const CASES = [
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
      let more = await reader.page(4)
      await device.push(device.mutation('update', run.id('during0'), { n: 100 }, { baseRev: made[0].rev, at: 1000 }), device.mutation('create', run.id('during9'), { n: 9 }))
      while (more.hasMore) more = await reader.page(4)
      await reader.pull()
      same([reader.row(run.id('during0')).n, reader.row(run.id('during9'))?.n], [100, 9])
    },
  },
  {
    name: 'concurrent-writers',
    promise: 'a reader that pulls while many write misses nothing: _rev grows in the order in which commits become visible',
    async story(run) {
      let writing = true
      const expected = []
      const writers = Array.from({ length: 8 }, async (_, w) => {
        const device = run.device(`w${w}`)
        for (let n = 0; n < 10; n += 1) {
          expected.push(run.id(`many${w}-${n}`))
          await device.push(device.mutation('create', run.id(`many${w}-${n}`), { n }))
        }
      })
      const reader = run.device('reader')
      const reading = (async () => { while (writing) await reader.pull(7) })()
      await Promise.all(writers)
      writing = false
      await reading
      await reader.pull()
      same(expected.filter((id) => reader.row(id) === undefined), [], 'rows that a concurrent reader never saw')
    },
  },
  {
    name: 'clock-ahead',
    promise: 'a stamp of tomorrow is lowered, the write is kept, and it does not win for a day',
    async story(run) {
      const [fast, right] = [run.device('fast'), run.device('right')]
      const id = run.id('ahead')
      const [made] = await fast.push(fast.mutation('create', id, { n: 1 }, { at: DAY }))
      same([made.status, made.clamped], ['applied', true])
      const [edit] = await right.push(right.mutation('update', id, { n: 2 }, { baseRev: made.rev, at: 1000 }))
      ok(['applied', 'merged'].includes(edit.status), `an edit made after it was answered ${edit.status}`)
      const reader = await run.device('reader').pull()
      same(reader.row(id).n, 2)
      ok(Date.parse(reader.row(id)._updatedAt) < Date.now() + DAY / 2, 'the stored stamp is still of tomorrow')
    },
  },
  {
    name: 'clock-behind',
    promise: 'an older concurrent version loses and is archived; nothing is discarded',
    async story(run) {
      const [a, slow] = [run.device('a'), run.device('slow')]
      const id = run.id('behind')
      const [made] = await a.push(a.mutation('create', id, { n: 1 }, { at: -3 * DAY }))
      await a.push(a.mutation('update', id, { n: 2 }, { baseRev: made.rev, at: -DAY }))
      const [late] = await slow.push(slow.mutation('update', id, { n: 3 }, { baseRev: made.rev, at: -2 * DAY }))
      same(late.status, 'superseded')
      ok(late.archived, 'the result carries the archive entry')
      const reader = await run.device('reader').pull()
      same([reader.row(id).n, reader.archive(id).length], [2, 1])
    },
  },
  {
    name: 'overwritten',
    promise: 'the concurrent version that a write replaces is archived',
    async story(run) {
      const [a, b] = [run.device('a'), run.device('b')]
      const id = run.id('overwritten')
      const [made] = await a.push(a.mutation('create', id, { n: 1 }, { at: -DAY }))
      await a.push(a.mutation('update', id, { n: 2 }, { baseRev: made.rev, at: -2000 }))
      const [won] = await b.push(b.mutation('update', id, { n: 3 }, { baseRev: made.rev, at: -1000 }))
      ok(['applied', 'merged'].includes(won.status), won.status)
      const reader = await run.device('reader').pull()
      same(reader.row(id).n, 3)
      ok(JSON.stringify(reader.archive(id)).includes('"n":2'), 'the version that was replaced is nowhere')
    },
  },
  {
    name: 'delete-against-edit',
    promise: 'an edit of a record that others deleted is a conflict that waits for a person',
    async story(run) {
      const [a, b] = [run.device('a'), run.device('b')]
      const id = run.id('deleted')
      const [made] = await a.push(a.mutation('create', id, { n: 1 }, { at: -DAY }))
      await a.push(a.mutation('delete', id, { n: 1 }, { baseRev: made.rev, at: -2000 }))
      const [edit] = await b.push(b.mutation('update', id, { n: 2 }, { baseRev: made.rev, at: -1000 }))
      same([edit.status, edit.archived?.status], ['conflict', 'unresolved'])
      const reader = await run.device('reader').pull()
      same([reader.row(id)?._deletedAt === null, reader.archive(id).map(({ status }) => status)], [false, ['unresolved']], 'the record is deleted, and the edit waits')
    },
  },
  {
    name: 'append-only',
    promise: 'a fact is never overwritten or deleted (rows with a $row_ id, and collections declared append-only)',
    async story(run) {
      const [a, b] = [run.device('a'), run.device('b')]
      const id = `$row_${run.id('audit')}`
      const [made] = await a.push(a.mutation('create', id, { action: 'sold 30' }, { at: -DAY }))
      const tried = [
        ...await b.push(b.mutation('update', id, { action: 'sold 3' }, { baseRev: made.rev })),
        ...await b.push(b.mutation('delete', id, { action: 'sold 30' }, { baseRev: made.rev })),
      ]
      ok(tried.every(({ status }) => status === 'rejected'), `an overwritten audit entry was answered ${statuses(tried)}`)
      const row = (await run.device('reader').pull()).row(id)
      same([row?.action, row?._deletedAt ?? null], ['sold 30', null])
    },
  },
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
  {
    name: 'tokens',
    promise: 'without a valid token nothing is applied, and every bad token gets the same answer',
    async story(run) {
      const device = run.device('a')
      const body = JSON.stringify(device.request([device.mutation('create', run.id('stranger'), {})]))
      const said = []
      for (const token of ['', 'nonsense', `${run.token.slice(0, -3)}abc`]) {
        const { status, body: answer } = await run.ask({ method: 'POST', body }, '', token)
        same([status, answer.error?.code], [401, 'auth-required'])
        said.push(answer.error.message)
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
      const { status, body: answer } = await run.ask({ method: 'POST', body })
      same([status, answer.error?.code], [409, 'scope-changed'])
      same((await run.device('reader').pull()).row(run.id('elsewhere')), undefined)
    },
  },
  {
    name: 'epoch',
    promise: 'a cursor of another incarnation of the data means a reset, and nothing of that request is evaluated',
    async story(run) {
      const device = run.device('a')
      const answer = await device.send(device.request([device.mutation('create', run.id('unheard'), {})], { cursor: 'c1.5..another' }))
      same([answer.reset, answer.results], [true, []])
      const reader = await run.device('reader').pull()
      same(reader.row(run.id('unheard')), undefined)
      const changes = [{ collection: run.collection, records: [{ id: run.id('unheard'), n: 1 }] }]
      const rows = await device.send(device.request([], { changes, cursor: 'c1.5..another' }))
      same(rows.results.map(({ id, status }) => [id, status]), [['/changes/0/records/0', 'retry']], 'a row of a simple client is gone without a word')
      ok(answer.epoch && answer.cursor.startsWith('c1.'))
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
  {
    name: 'protocol',
    promise: 'another protocol is answered 426 with the range that is understood',
    async story(run) {
      const { status, body } = await run.ask({ method: 'POST', body: JSON.stringify({ ...run.device('a').request([]), protocol: 999 }) })
      same([status, body.error?.code, Number.isInteger(body.supported?.max)], [426, 'protocol-unsupported', true])
    },
  },
  {
    name: 'interleavings',
    promise: 'after any order of edits, deletes and pulls every device holds what a new one gets',
    async story(run) {
      const devices = ['x', 'y', 'z'].map((name) => run.device(name))
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
  {
    name: 'vectors',
    promise: 'last write wins as in the golden vectors (tests/fixtures/merge/lww.json), in either order',
    async story(run, { lww }) {
      for (const [n, { name, local, incoming, winner, archived }] of lww.cases.entries()) {
        // Deleted here, edited there is asked elsewhere: over the wire a person decides it.
        if (local._deletedAt !== null || incoming._deletedAt !== null) continue
        for (const [turn, versions] of [[local, incoming], [incoming, local]].entries()) {
          const id = run.id(`vector${n}-${turn}`)
          const device = run.device(`v${n}-${turn}`)
          const [made] = await device.push(device.mutation('create', id, { n: null }, { at: Date.UTC(2025, 0, 1) - Date.now() }))
          for (const { id: _, _updatedAt, ...fields } of versions) {
            await device.push(device.mutation('update', id, content(fields), { baseRev: made.rev, at: Date.parse(_updatedAt) - Date.now() }))
          }
          const reader = await run.device('reader').pull()
          const { id: _, ...expected } = content(winner)
          const { id: __, ...found } = content(reader.row(id))
          same(found, expected, `${name}: another version won`)
          same(reader.archive(id).length, archived.length, `${name}: in the archive`)
        }
      }
    },
  },
  ...DECLARED,
]
