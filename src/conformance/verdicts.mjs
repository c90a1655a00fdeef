// What becomes of a version that meets another one.

import { deepStrictEqual as same, ok } from 'node:assert'
import { DAY } from './client.mjs'
import { TABLE, askTable } from './table.mjs'
import { content } from './versions.mjs'

const statuses = (results) => results.map(({ status }) => status)

/** @type {readonly import('./cases.mjs').Case[]} */
export const VERDICTS = [
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
    name: 'verdicts',
    promise: `create, update, delete, undelete on what is live, deleted or not there, made on each version: ${TABLE.length} verdicts`,
    story: askTable,
  },
  {
    name: 'decision',
    promise: 'what a person decides is stored and settles the conflict with it; a second decision is an ordinary edit',
    async story(run) {
      const [a, b] = [run.device('a'), run.device('b')]
      const id = run.id('decided')
      const [made] = await a.push(a.mutation('create', id, { n: 1 }, { at: -DAY }))
      const [gone] = await a.push(a.mutation('delete', id, { n: 1 }, { baseRev: made.rev, at: -2000 }))
      const [met] = await b.push(b.mutation('update', id, { n: 2 }, { baseRev: made.rev, at: -1000 }))
      const resolves = met.archived?.id
      ok(resolves, 'the result of an edit of what was deleted has no entry to be decided about')
      const [kept] = await b.push(b.mutation('undelete', id, { n: 2 }, { baseRev: gone.rev, resolves }))
      same([kept.status, kept.archived?.id, kept.archived?.status, kept.archived?.winner], ['applied', resolves, 'resolved', 'mine'])
      const reader = await run.device('reader').pull()
      same([reader.row(id).n, reader.row(id)._deletedAt ?? null, reader.archive(id).map(({ status }) => status)], [2, null, ['resolved']])
      // He looked at the same conflict, and was too late.
      const [late] = await a.push(a.mutation('delete', id, { n: 1 }, { baseRev: gone.rev, at: 1000, resolves }))
      same([late.status, late.archived?.status], ['conflict', 'unresolved'], 'the first decision counts')
      await reader.pull()
      same([reader.row(id)._deletedAt ?? null, reader.archive(id).find((entry) => entry.id === resolves).status], [null, 'resolved'])
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
    name: 'vectors',
    promise: 'last write wins as in the golden vectors (tests/fixtures/merge/lww.json), in either order',
    async story(run, { lww }) {
      const reader = run.device('reader')
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
          await reader.pull()
          const { id: _, ...expected } = content(winner)
          const { id: __, ...found } = content(reader.row(id))
          same(found, expected, `${name}: another version won`)
          same(reader.archive(id).length, archived.length, `${name}: in the archive`)
        }
      }
    },
  },
]
