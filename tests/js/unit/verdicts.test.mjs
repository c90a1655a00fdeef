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

test('nothing queued, and the end', () => {
  const verdicts = new Verdicts()
  assert.deepEqual([heard(verdicts.of([], ABSENT)), heard(verdicts.of([null], ABSENT))], [['local'], ['local']])
  const open = heard(verdicts.of(one('c:1'), ABSENT))
  verdicts.close()
  assert.deepEqual([open, heard(verdicts.of(one('c:2'), ABSENT))], [['closed'], ['closed']])
})
