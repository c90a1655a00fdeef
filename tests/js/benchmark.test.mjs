// The benchmark's own judgement: a wrong figure or a wrong record must not pass. No browser here.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sizeOf } from '../../bench/probes.mjs'
import { makeRecord, makeRecords, touchRecords, verifyRecords } from '../../bench/records.mjs'
import { formatMarkdown, judge } from '../../bench/report.mjs'
import { compare, interleave, quantile } from '../../bench/statistics.mjs'

const samplesOf = (values) => values.map((value) => ({ value }))
const judged = (limit, ours, theirs) => judge({
  name: 'work', about: { title: 'some work', unit: 'ms', limit }, subject: 'us', opponent: 'them',
  samples: new Map([['us', samplesOf(ours)], ['them', samplesOf(theirs)]]),
})

test('quantiles do not depend on the order and interpolate', () => {
  assert.equal(quantile([9, 1, 5], 0.5), 5)
  assert.equal(quantile([4, 1, 2, 3], 0.5), 2.5)
  assert.equal(quantile([10, 9, 100], 1), 100)
})

test('a ratio is the quotient of the medians, its spread that of the rounds', () => {
  assert.deepEqual(compare([1, 2, 9], [4, 1, 2]), { ratio: 1, min: 0.25, max: 4.5 })
})

test('sides take turns: A B, B A, A B', () => {
  assert.deepEqual([0, 1, 2].flatMap((round) => interleave(['A', 'B'], round)).join(''), 'ABBAAB')
})

test('a ratio over its limit fails, one at its limit does not', () => {
  assert.deepEqual(judged({ ratio: 0.5 }, [50, 50, 50], [100, 100, 100]).failures, [])
  assert.deepEqual(judged({ ratio: 0.5 }, [51, 51, 51], [100, 100, 100]).failures, ['work: 0.51 is over the limit of ≤ 0.50'])
})

test('an absolute limit looks at the figure and not at the opponent', () => {
  assert.deepEqual(judged({ value: 3 }, [2.9], [0.1]).failures, [])
  assert.equal(judged({ value: 3 }, [3.1], [100]).failures.length, 1)
})

test('a figure that is no number fails', () => {
  assert.equal(judged({ ratio: 0.5 }, [Number.NaN], [100]).failures.length, 1)
})

test('the Markdown names the verdict', () => {
  const facts = { quick: false, version: 'Chromium', opponent: 'them' }
  assert.match(formatMarkdown([judged({ ratio: 0.5 }, [60], [100])], facts), /\| work \| us \| 60 ms .*\| 0\.600 .*\| ≤ 0\.50 \| OVER \|/)
})

test('records are deterministic, distinct, 13 fields and about 350 bytes', () => {
  const records = makeRecords(2_000)
  assert.deepEqual(records[1_999], makeRecord(1_999))
  assert.equal(new Set(records.map((record) => record.id)).size, 2_000)
  assert.equal(Object.keys(records[0]).length, 13)
  const average = JSON.stringify(records).length / records.length
  assert.ok(average > 325 && average < 375, `${average} bytes`)
})

test('verification accepts any order and fields of the peer, and nothing else', () => {
  const stored = () => makeRecords(50).reverse().map((record) => ({ ...record, _updatedAt: 'x' }))
  verifyRecords(stored(), 50)
  const refused = (change, message) => {
    const rows = stored()
    change(rows)
    assert.throws(() => verifyRecords(rows, 50), message)
  }
  refused((rows) => rows.pop(), /expected 50 records, read 49/)
  refused((rows) => { rows[7] = rows[8] }, /is missing/)
  refused((rows) => { rows[7].feedKg += 0.1 }, /feedKg is/)
  refused((rows) => { delete rows[7].verifiedBy }, /verifiedBy is undefined/)
  refused((rows) => { rows[7].colour = 'red' }, /foreign field colour/)
})

test('touching sees every field', () => {
  const record = makeRecord(1)
  for (const [field, value] of Object.entries(record)) {
    const changed = { ...record, [field]: typeof value === 'number' ? value + 1 : value === null ? 0 : `${value}!` }
    assert.notEqual(touchRecords([changed]), touchRecords([record]), field)
  }
})

test('sizes are those of a structured clone', () => {
  assert.equal(sizeOf(new Uint8Array(7)), 7)
  assert.equal(sizeOf('œufs'), 8)
  assert.equal(sizeOf('oeufs'), 5)
  assert.equal(sizeOf({ id: 'ab', n: [1, 2] }), 2 + 2 + 1 + 16)
})
