// The benchmark's own judgement: a wrong figure or a wrong record must not pass. No browser here.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatMarkdown } from '../../bench/markdown.mjs'
import { PEERS, peersOf, rivals } from '../../bench/peers.mjs'
import { sizeOf } from '../../bench/probes.mjs'
import { makeRecord, makeRecords, touchRecords, verifyRecords } from '../../bench/records.mjs'
import { judge, summarizeOpening, summarizeRaces } from '../../bench/report.mjs'
import { createSyncServer } from '../../bench/server.mjs'
import { compare, interleave, quantile } from '../../bench/statistics.mjs'
import { serveStatic } from '../../scripts/static-server.mjs'

const samplesOf = (values) => values.map((value) => ({ value }))
const judged = (limits, ours, theirs, about = {}) => judge({
  name: 'work', about: { title: 'some work', unit: 'ms', limits, ...about }, subject: 'us', opponent: 'them', rivals: ['them', 'absent'],
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

test('who takes part in fewer rounds is compared over those', () => {
  assert.deepEqual(compare([2, 2], [1, 1, 100, 100]), { ratio: 2, min: 2, max: 2 })
  assert.deepEqual(compare([1, 1, 100, 100], [2, 2]), { ratio: 0.5, min: 0.5, max: 0.5 })
})

test('a ratio over its limit fails, one at its limit does not', () => {
  assert.deepEqual(judged([{ ratio: 0.5 }], [50, 50, 50], [100, 100, 100]).failures, [])
  assert.deepEqual(judged([{ ratio: 0.5 }], [51, 51, 51], [100, 100, 100]).failures, ['work: median / them 0.51 is not ≤ 0.5'])
})

test('an absolute limit looks at the figure and not at the opponent', () => {
  assert.deepEqual(judged([{ max: 3 }], [2.9], [3]).failures, [])
  assert.equal(judged([{ max: 3 }], [3.1], [100]).failures.length, 1)
})

test('a limit on a figure beside the median looks at that one', () => {
  const withInfo = (open) => judge({
    name: 'work', about: { title: 'some work', unit: 'ms', limits: [{ figure: 'open ms', max: 5 }] }, subject: 'us', opponent: 'them', rivals: [],
    samples: new Map([['us', [{ value: 1, info: { 'open ms': open } }]]]),
  })
  assert.deepEqual(withInfo(5).failures, [])
  assert.deepEqual(withInfo(6).failures, ['work: open ms 6 is not ≤ 5'])
  assert.deepEqual(judged([{ min: 1 }], [0], [1]).failures, ['work: median 0 is not ≥ 1'])
  assert.deepEqual(judged([{ min: 1 }], [1], [2]).failures, [])
})

test('a figure that is no number fails', () => {
  assert.deepEqual(judged([{ ratio: 0.5 }], [Number.NaN], [100]).failures.length, 2)
})

test('somebody durable who is as fast is ahead, but only in a race', () => {
  assert.deepEqual(judged([], [100], [100]).failures, ['work: them is ahead, us takes 1 times as long in the rounds of both'])
  assert.deepEqual(judged([], [99], [100]).failures, [])
  assert.deepEqual(judged([], [200], [100], { race: false }).failures, [])
  assert.match(summarizeRaces([judged([], [99], [100]), judged([], [100], [99])]), /in 1 of 2 workloads; not in work \(them\)/)
})

test('opening is compared per record, and not at all without both sizes', () => {
  const opened = (name, ms) => ({ name, rows: [{ peer: 'homing', median: ms }] })
  assert.deepEqual(summarizeOpening([opened('cold-open', 100), opened('cold-open-100k', 1_500)]), ['Cold open costs 1.5 times as much per record at 100,000 as at 10,000.'])
  assert.deepEqual(summarizeOpening([opened('cold-open', 100)]), [])
})

test('blobs that are not durable need not be beaten, and who cannot do a workload is not in it', () => {
  assert.ok(!rivals(PEERS).includes('local-storage') && !rivals(PEERS).includes('homing'))
  assert.ok(rivals(PEERS).includes('hand-written') && rivals(PEERS).includes('dexie'))
  const names = (workload, about = {}) => peersOf(workload, about, PEERS).map(({ name }) => name)
  assert.deepEqual(names('bulk'), PEERS.map(({ name }) => name))
  assert.ok(!names('cold-open-50k').includes('local-storage') && !names('delta-merge').includes('tanstack'))
  assert.deepEqual(names('document', { peers: ['homing'] }), ['homing'])
})

test('the Markdown names the verdict and what is not kept', () => {
  const text = formatMarkdown([{ ...judged([{ ratio: 0.5 }], [60], [100]), at: '2026-01-01' }], { browser: 'Chromium', versions: {} })
  assert.match(text, /- work: median \/ them 0\.6 is not ≤ 0\.5/)
})

test('the server answers each protocol from one state', async () => {
  const site = await serveStatic({ routes: { '/sync/': createSyncServer() } })
  const call = async (path, body) => (await fetch(`${site.url}sync/db/${path}`, body && { method: 'POST', body: JSON.stringify(body) })).json()
  try {
    await call('publish', { from: 0, count: 1_500, stamp: '2025-01-01T00:00:00.000Z', suffix: '!' })
    const first = await call('plain/pull?since=0')
    assert.deepEqual([first.records.length, first.checkpoint, first.more], [1_000, 1_000, true])
    const second = await call('api/v1/sync/delta?cursor=c1.1000..bench')
    assert.deepEqual([second.changes[0].records.length, second.cursor, second.hasMore], [500, 'c1.1500..bench', false])
    const { results: listed, pending } = await call('couch/_changes?since=1400&limit=50')
    assert.deepEqual([listed.length, listed[0].seq, listed.at(-1).seq, pending], [50, 1_401, 1_450, 50])
    const record = makeRecord(3)
    const { results } = await call('api/v1/sync/delta', { cursor: 'c1.1500..bench', mutations: [{ id: 'c:1', recordId: record.id, record }] })
    assert.deepEqual(results, [{ id: 'c:1', status: 'applied', rev: 1_501 }])
    await call('couch/_bulk_docs', { docs: [{ _id: 'x', _rev: '1-a', n: 1 }] })
    assert.deepEqual((await call('plain/push', { records: [{ id: 'y' }] })).acked, ['y'])
    assert.deepEqual(await call('stored'), [record, { id: 'x', n: 1 }, { id: 'y' }])
  } finally {
    await site.close()
  }
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
