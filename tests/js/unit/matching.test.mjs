// What a page has seen of a collection: its index is made anew only when it has to be, and says the same as a new one.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { Seen, matchRows } = modules.matching

const IDS = ['a', 'b', 'c', '$row_1', '$row_2', '$row_3', '$dup_2_a']
/** A row under that id: as it is, or shown under another one. */
const row = (id, sourceId) => ({ id, _updatedAt: '', ...(sourceId === undefined ? {} : { _sourceId: sourceId }) })

test('whatever is seen and forgotten, the index is that of the rows', () => {
  let state = 7
  const next = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n
  const seen = new Seen()
  for (let step = 0; step < 5_000; step += 1) {
    const id = IDS[next(IDS.length)]
    if (next(4) === 0) seen.delete(id)
    else seen.set(id, row(id, [undefined, undefined, 'a', 7][next(4)]))
    if (next(3) > 0) assert.deepEqual(seen.index(), new Seen([...seen.rows.values()]).index(), `step ${step}`)
  }
})

test('an edit of rows under their own ids leaves the index as it is', () => {
  const seen = new Seen([row('a'), row('$dup_2_a', 'a'), row('$row_1')])
  const index = seen.index()
  seen.set('a', row('a'))
  seen.set('b', row('b'))
  seen.delete('b')
  seen.set('$dup_2_a', row('$dup_2_a', 'a'))
  assert.equal(seen.index(), index)
  seen.set('$dup_2_a', row('$dup_2_a', 'b'))
  assert.notEqual(seen.index(), index)
})

test('what never leaves the device makes no other row', () => {
  const [one, two, three] = ['$row_1', '$row_2', '$row_3'].map((id, n) => ({ ...row(id), n: n % 2, note: n }))
  const seen = new Seen([one, two, three])
  const ids = (...rows) => [...matchRows(rows, seen, ['note']).ids]
  assert.deepEqual(ids({ n: 0, note: 9 }, { n: 1, note: 1 }, { n: 0, note: 2 }), ['$row_1', '$row_2', '$row_3'])
  assert.deepEqual(ids({ n: 0, note: 2 }, { n: 0, note: 9 }, { n: 2 }, { n: 1 }), ['$row_3', '$row_1', undefined, '$row_2'])
  assert.deepEqual([...matchRows([{ n: 0, note: 9 }], seen).ids], [undefined])
  const twins = new Seen([{ ...row('a'), n: 1 }, { ...row('$dup_2_a', 'a'), n: 2 }])
  assert.deepEqual([...matchRows([{ id: 'a', n: 2, note: 1 }], twins, ['note']).ids], ['$dup_2_a'])
})

test('a text is not the number that is stored under the same text', () => {
  const seen = new Seen([row('7', 7), row('8')])
  assert.deepEqual([...matchRows([{ id: 7 }, { id: '7' }, { id: '8' }, { id: 8 }], seen).ids], ['7', undefined, '8', undefined])
  assert.deepEqual([...matchRows([{ id: '7' }], seen).ids], [undefined])
})
