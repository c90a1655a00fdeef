// Promises about collections that a server must know the declaration of: how each policy merges, numbers, unique values.
// `homing conformance --print-schema` prints the declarations. Not here: the other promises (`cases.mjs`).

import { deepStrictEqual as same, ok } from 'node:assert'
import { meet } from './meeting.mjs'
import { content } from './versions.mjs'

/** @typedef {{ readonly [file: string]: { policy: string, fields?: object, groups?: object, cases: readonly Vector[] } }} Vectors */
/** @typedef {{ name: string, base?: object, local: object, incoming: object, symmetric: boolean, winner: object, archived: readonly string[] }} Vector */

const NUMBERED = 'conformance.numbered'
const UNIQUE = 'conformance.unique'
const merging = (file) => `conformance.${file}`

/** What facts do when they meet is asked by the case `append-only`: over the wire they are never written twice. */
const asked = (vectors) => Object.entries(vectors).filter(([, { policy }]) => policy !== 'append-only')

/** The declarations: JSON that belongs into the schema of the server. */
export function schema(vectors) {
  const merged = asked(vectors).map(([file, { policy, fields, groups }]) => [merging(file), { merge: policy, fields, groups }])
  return { collections: { ...Object.fromEntries(merged), [NUMBERED]: { ordinal: { field: 'n', parent: 'parent' } }, [UNIQUE]: { unique: [['code'], ['house', 'door']] } } }
}

/** @type {readonly import('./cases.mjs').Case[]} */
export const DECLARED = [
  {
    name: 'merging',
    needs: 'declared',
    promise: 'every policy and every typed field merges as in the golden vectors (tests/fixtures/merge/*.json)',
    async story(run, vectors) {
      let n = 0
      const reader = run.device('reader')
      for (const [file, { cases, fields, policy }] of asked(vectors)) {
        const collection = { name: merging(file), policy, typed: fields !== undefined }
        for (const vector of cases) {
          // Deleted here, edited there: over the wire a person decides it (`delete-against-edit`).
          if (vector.local._deletedAt !== null || vector.incoming._deletedAt !== null) continue
          await meet(run, reader, collection, `v${++n}`, vector, vector.incoming, vector.local)
          if (vector.symmetric) await meet(run, reader, collection, `v${++n}`, vector, vector.local, vector.incoming)
        }
      }
    },
  },
  {
    name: 'joining',
    needs: 'declared',
    promise: 'what three devices counted and added without having seen each other is all there, in whatever order it comes',
    async story(run) {
      const counter = (eggs, p, n) => ({ eggs, _crdt: { eggs: { b: 10, p, n } } })
      const a = { '="a"': 1 }
      const set = (tags, e, v) => ({ tags, _crdt: { tags: { e, v: { ...a, ...v } } } })
      // In turns: what b did, what c did without it, what b did next on its own version.
      const stories = {
        counter: [{ eggs: 10 }, [counter(15, { b: 5 }, {}), counter(7, {}, { c: 3 }), counter(16, { b: 6 }, {})], counter(13, { b: 6 }, { c: 3 })],
        set: [{ tags: ['a'] }, [set(['a', 'x'], { '"a"': a, '"x"': { b: 1 } }, { b: 1 }), set([], {}, {}), set(['a', 'x', 'y'], { '"a"': a, '"x"': { b: 1 }, '"y"': { b: 2 } }, { b: 2 })],
          set(['x', 'y'], { '"x"': { b: 1 }, '"y"': { b: 2 } }, { b: 2 })],
      }
      const devices = { a: run.device('a'), b: run.device('b'), c: run.device('c') }
      const reader = run.device('reader')
      for (const [file, [base, versions, expected]] of Object.entries(stories)) {
        for (const order of [[0, 1, 2], [1, 0, 2], [0, 2, 1]]) {
          const id = run.id(`${file}${order.join('')}`)
          const at = { collection: merging(file) }
          const [made] = await devices.a.push(devices.a.mutation('create', id, base, { ...at, at: -5000 }))
          let own = made.rev
          for (const n of order) {
            const device = n === 1 ? devices.c : devices.b
            const [{ status, rev, message }] = await device.push(device.mutation('update', id, versions[n], { ...at, baseRev: n === 1 ? made.rev : own, at: -4000 + 1000 * n }))
            ok(['applied', 'merged'].includes(status), `${file}: ${status} ${message ?? ''}`)
            if (n !== 1) own = rev
          }
          await reader.pull()
          const row = reader.row(id, merging(file))
          same([content(row), row._crdt], [content({ id, ...expected }), expected._crdt], `${file}, in the order ${order}`)
          same(reader.archive(id, merging(file)).length, 0, `${file}: nothing was lost, yet something is in the archive`)
        }
      }
    },
  },
  {
    name: 'schemas',
    needs: 'declared',
    promise: 'who declares a collection otherwise is told how the server does, and waits; the rest of his request flows',
    async story(run) {
      const device = run.device('a')
      const mutations = [device.mutation('create', run.id('otherwise'), { parent: run.id('p') }, { collection: NUMBERED }), device.mutation('create', run.id('rest'), {})]
      const { results: [waits, flows] } = await device.send(device.request(mutations, { schemas: { [NUMBERED]: 'another' } }))
      same([waits.status, waits.code, Number.isInteger(waits.retryAfterMs), waits.declared?.ordinal], ['retry', 'schema-mismatch', true, { field: 'n', parent: 'parent' }])
      same(flows.status, 'applied')
      const [later] = await device.push(...mutations)
      same([later.status, later.record?.n], ['applied', 1], 'what was to wait has no receipt')
    },
  },
  {
    name: 'ordinals',
    needs: 'declared',
    promise: 'numbers go up by one under each parent, whoever asks at once; none is given twice, no edit changes one',
    async story(run) {
      const parent = run.id('parent')
      const create = (device, id, fields = {}) => device.mutation('create', run.id(id), { parent, ...fields }, { collection: NUMBERED })
      const devices = ['a', 'b', 'c', 'd'].map((name) => run.device(name))
      const told = await Promise.all(devices.map(async (device, d) => {
        const results = []
        for (let n = 0; n < 4; n += 1) results.push(...await device.push(create(device, `n${d}-${n}`, { n: 1 })))
        // Without a record the version is stored as it was sent.
        return results.map(({ status, record = { n: 1 } }) => [status, record.n])
      }))
      const numbers = told.flat().map(([, n]) => n).sort((x, y) => x - y)
      same(numbers, Array.from({ length: 16 }, (_, n) => n + 1), 'each number once, in the results')
      const [device] = devices
      const reader = await run.device('reader').pull()
      const last = [...reader.rows.values()].find((row) => row.parent === parent && row.n === 16)
      const at = { collection: NUMBERED, baseRev: last._rev, at: 1000 }
      await device.push(device.mutation('update', last.id, { parent, n: 1, edited: true }, at))
      const after = (await reader.pull()).row(last.id, NUMBERED)
      same([after.n, after.edited], [16, true], 'an edit changes no number')
      await device.push(device.mutation('delete', last.id, { parent }, { ...at, baseRev: after._rev, at: 2000 }))
      const [next] = await device.push(create(device, 'next'))
      same(next.record?.n, 17, 'the number of a deleted record is not given again')
      const [other] = await device.push(device.mutation('create', run.id('other'), { parent: run.id('other') }, { collection: NUMBERED }))
      same(other.record?.n, 1, 'each parent counts for itself')
    },
  },
  {
    name: 'unique',
    needs: 'declared',
    promise: 'of those who want one value at once one gets it, the others are refused with code and path; let go, it is free',
    async story(run) {
      const code = run.id('code')
      const create = (device, id, fields) => device.mutation('create', run.id(id), fields, { collection: UNIQUE })
      const devices = ['a', 'b', 'c', 'd'].map((name) => run.device(name))
      const results = (await Promise.all(devices.map((device, n) => device.push(create(device, `u${n}`, { code }))))).flat()
      const refused = results.filter(({ status }) => status === 'rejected')
      same(refused.map(({ code, path }) => [code, path]), Array(3).fill(['unique', '/record/code']))
      const won = results.findIndex(({ status }) => status === 'applied')
      const [device] = devices
      const both = await device.push(create(device, 'x', { house: code, door: 1 }), create(device, 'y', { house: code, door: 2 }), create(device, 'z', { house: code, door: 1 }))
      same(both.map(({ status }) => status), ['applied', 'applied', 'rejected'], 'fields of one constraint count together')
      const at = { collection: UNIQUE, baseRev: results[won].rev, at: 1000 }
      await device.push(device.mutation('delete', run.id(`u${won}`), { code }, at))
      const [free] = await device.push(create(device, 'free', { code }))
      same(free.status, 'applied', 'what a deleted record had is free')
    },
  },
]
