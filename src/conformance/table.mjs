// What becomes of each operation on each state of a record, for a mutation that is later than what is there, where the later one wins.
// The text of DESIGN 4 and rulings R9, R11 and R20, row by row. Where several answers keep every promise all of them are named.

/**
 * `there`: what is stored (`live` and `deleted` have an earlier version each); `base`: what the mutation was made on; `same`: it has the
 * content that is stored. Then the status, the status of the archive entry (`null`: there is none), and what is stored afterwards.
 *
 * @typedef {readonly [op: string, there: 'live' | 'deleted' | 'none', base: 'current' | 'stale' | 'absent', more: '' | 'imported' | 'same' | 'imported same',
 *   status: string, archived: 'unresolved' | 'automatic' | null, after: 'mine' | 'theirs' | 'deleted' | 'none']} Row
 */

/** @type {readonly Row[]} */
export const TABLE = [
  // A create on a record that is there is a concurrent version that saw nothing: a person decides, unless both say the same.
  ['create', 'live', 'absent', '', 'conflict', 'unresolved', 'theirs'],
  ['create', 'live', 'stale', '', 'conflict', 'unresolved', 'theirs'],
  ['create', 'live', 'absent', 'same', 'applied', null, 'theirs'],
  ['create', 'live', 'absent', 'imported', 'superseded', 'automatic', 'theirs'],
  ['create', 'live', 'absent', 'imported same', 'applied', null, 'theirs'],
  ['create', 'deleted', 'absent', '', 'conflict', 'unresolved', 'deleted'],
  ['create', 'deleted', 'stale', '', 'conflict', 'unresolved', 'deleted'],
  ['create', 'deleted', 'absent', 'imported', 'superseded', 'automatic', 'deleted'],
  ['create', 'none', 'absent', '', 'applied', null, 'mine'],
  ['create', 'none', 'stale', '', 'applied', null, 'mine'],
  ['create', 'none', 'absent', 'imported', 'applied', null, 'mine'],

  ['update', 'live', 'current', '', 'applied', null, 'mine'],
  ['update', 'live', 'stale', '', 'applied merged', 'automatic', 'mine'],
  ['update', 'live', 'absent', '', 'applied merged', 'automatic', 'mine'],
  ['update', 'live', 'stale', 'same', 'applied', null, 'theirs'],
  ['update', 'deleted', 'current', '', 'applied', null, 'mine'],
  ['update', 'deleted', 'stale', '', 'conflict', 'unresolved', 'deleted'],
  ['update', 'deleted', 'absent', '', 'conflict', 'unresolved', 'deleted'],
  ['update', 'none', 'stale', '', 'conflict', 'unresolved', 'none'],
  ['update', 'none', 'absent', '', 'conflict', 'unresolved', 'none'],

  ['delete', 'live', 'current', '', 'applied', null, 'deleted'],
  ['delete', 'live', 'stale', '', 'conflict', 'unresolved', 'theirs'],
  ['delete', 'live', 'absent', '', 'conflict', 'unresolved', 'theirs'],
  ['delete', 'deleted', 'current', 'same', 'applied superseded', null, 'deleted'],
  ['delete', 'deleted', 'stale', 'same', 'applied superseded', null, 'deleted'],
  ['delete', 'deleted', 'absent', 'same', 'applied superseded', null, 'deleted'],
  ['delete', 'none', 'stale', '', 'applied', null, 'none'],
  ['delete', 'none', 'absent', '', 'applied', null, 'none'],

  ['undelete', 'live', 'stale', '', 'applied merged', 'automatic', 'mine'],
  ['undelete', 'deleted', 'current', '', 'applied', null, 'mine'],
  ['undelete', 'deleted', 'stale', '', 'conflict', 'unresolved', 'deleted'],
  ['undelete', 'deleted', 'absent', '', 'conflict', 'unresolved', 'deleted'],
  ['undelete', 'none', 'absent', '', 'conflict', 'unresolved', 'none'],
]

/** What somebody else stored, and what the mutation carries. */
const THEIRS = { n: 2 }
const MINE = { n: 3 }

/** Makes the records, sends all mutations in one request, and throws at the first row of the table that is not so. */
export async function askTable(run) {
  // It is there from the beginning: who comes later is told of no tombstones.
  const reader = await run.device('reader').pull()
  const [author, device] = [run.device('author'), run.device('device')]
  const rows = TABLE.map((row, at) => ({ row, id: run.id(`cell${at}`), there: row[1] }))
  const step = async (op, chosen, fields, at) => {
    const results = await author.push(...chosen.map((one) => author.mutation(op, one.id, fields, { baseRev: one.current ?? null, at })))
    for (const [n, one] of chosen.entries()) [one.stale, one.current] = [one.current, results[n].rev]
  }
  const stored = rows.filter(({ there }) => there !== 'none')
  await step('create', stored, { n: 1 }, -4000)
  await step('update', stored, THEIRS, -3000)
  await step('delete', stored.filter(({ there }) => there === 'deleted'), THEIRS, -2000)
  const anyRev = stored[0].stale
  const mutations = rows.map(({ row: [op, , base, more], id, current, stale }) => {
    const fields = more.endsWith('same') ? THEIRS : MINE
    const baseRev = { current, stale: stale ?? anyRev, absent: null }[base]
    return device.mutation(op, id, fields, { baseRev, ...more.startsWith('imported') ? { imported: true } : {} })
  })
  const results = await device.push(...mutations)
  await reader.pull()
  for (const [at, { row: [op, there, base, more, status, archived, after], id }] of rows.entries()) {
    const what = `${op}${more && ` (${more})`} on ${there === 'none' ? 'no row' : `a ${there} row`}, made on ${base === 'absent' ? 'nothing' : `its ${base} version`}`
    const kept = (found, expected, about) => {
      if (!expected.split(' ').includes(String(found))) throw new Error(`${what}: ${about} ${found}, not ${expected.replace(' ', ' or ')}`)
    }
    kept(results[at].status, status, 'was answered')
    kept(results[at].archived?.status ?? null, String(archived), 'the entry in the result is')
    kept(reader.archive(id).map((entry) => entry.status).join() || null, String(archived), 'in the archive is')
    const found = reader.row(id)
    kept(found === undefined ? 'none' : found._deletedAt != null ? 'deleted' : found.n === MINE.n ? 'mine' : 'theirs', after, 'stored is')
    if (archived === null) continue
    const { mine, theirs } = results[at].archived
    kept(mine?.n, String(MINE.n), 'mine in the archive is')
    kept(theirs == null ? 'none' : theirs.n, there === 'none' ? 'none' : String(THEIRS.n), 'theirs in the archive is')
  }
}
