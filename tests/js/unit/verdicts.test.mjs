// The verdict on a mutation reaches every write that ended up in it, whenever it asks.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { Verdicts } = modules.verdicts
const APPLIED = { status: 'applied' }
const ABSENT = { status: 'local' }
const one = (first) => [{ first, count: 1 }]

function heard(awaited) {
  const verdicts = []
  awaited.tell((verdict) => verdicts.push(verdict.status))
  return verdicts
}

test('writes of one mutation hear one verdict, also who asks afterwards', () => {
  const verdicts = new Verdicts()
  const [early, late] = [verdicts.of(one('c:1'), ABSENT), verdicts.of(one('c:1'), ABSENT)]
  assert.equal(early, late, 'nothing is kept per write')
  const first = heard(early)
  verdicts.settle('c:2', { status: 'merged' })
  assert.deepEqual(first, [])
  verdicts.settle('c:1', APPLIED)
  verdicts.settle('c:1', { status: 'merged' })
  assert.deepEqual([first, heard(late)], [['applied'], ['applied']])
  assert.notEqual(verdicts.of(one('c:1'), ABSENT), early, 'what is settled is let go')
})

test('a mutation that goes again under another id, and joins one that is awaited there', () => {
  const verdicts = new Verdicts()
  const [moved, joined, there] = ['c:1', 'c:2', 'd:2'].map((id) => verdicts.of(one(id), ABSENT))
  const told = [moved, joined, there].map(heard)
  verdicts.move('c:1', 'd:1')
  verdicts.move('c:2', 'd:2')
  verdicts.settle('d:1', APPLIED)
  verdicts.settle('d:2', { status: 'merged' })
  assert.deepEqual(told, [['applied'], ['merged'], ['merged']])
})

test('a run of verdicts: each mutation has its own, whoever waits for it and however', () => {
  const verdicts = new Verdicts()
  const lists = {}
  const watch = (first, count) => verdicts.watch([{ first, count }], ABSENT, (list) => { lists[first] = list })
  watch('c:3', 4)
  watch('c:8', 2)
  watch('d:4', 2)
  verdicts.settle('c:2', { status: 'applied', mutationId: 'c:2', rev: 12 }, 3)
  assert.deepEqual(lists, {})
  verdicts.settle('c:5', { status: 'applied', mutationId: 'c:5', rev: 20 }, 4)
  const applied = (number, rev) => ({ status: 'applied', mutationId: `c:${number}`, rev })
  assert.deepEqual(lists, { 'c:3': [applied(3, 13), applied(4, 14), applied(5, 20), applied(6, 21)] })
  const single = []
  verdicts.of(one('c:10'), ABSENT).tell((verdict) => single.push(verdict))
  watch('c:11', 1)
  verdicts.settle('c:9', { status: 'applied', mutationId: 'c:9', rev: 30 }, 4)
  assert.deepEqual([lists['c:8'], single, lists['c:11'], lists['d:4']], [[applied(8, 23), applied(9, 30)], [applied(10, 31)], [applied(11, 32)], undefined])
})

test('nothing queued, and the end', () => {
  const verdicts = new Verdicts()
  assert.deepEqual([heard(verdicts.of([], ABSENT)), heard(verdicts.of([null], ABSENT))], [['local'], ['local']])
  const open = heard(verdicts.of(one('c:1'), ABSENT))
  verdicts.close()
  assert.deepEqual([open, heard(verdicts.of(one('c:2'), ABSENT))], [['closed'], ['closed']])
})
