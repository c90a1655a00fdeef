// Listeners and verdicts: nobody stops anybody else, nobody is told twice.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { Listeners } = modules.observable
const { Verdicts } = modules.verdicts

test('a listener that throws is reported and stops no other', (t) => {
  const reported = []
  globalThis.reportError = (error) => reported.push(error.message)
  t.after(() => delete globalThis.reportError)
  const listeners = new Listeners()
  const told = []
  listeners.add(() => { throw new Error('first') })
  listeners.add((change) => told.push(change))
  listeners.emit(1)
  assert.deepEqual(told, [1])
  assert.deepEqual(reported, ['first'])
})

test('the same function twice is two listeners; a signal takes one away', () => {
  const listeners = new Listeners()
  const told = []
  const tell = () => told.push('x')
  const stop = new AbortController()
  const remove = listeners.add(tell)
  listeners.add(tell, stop.signal)
  listeners.emit()
  stop.abort()
  listeners.emit()
  remove()
  remove()
  listeners.emit()
  assert.equal(told.length, 3)
  assert.equal(listeners.size, 0)
  listeners.add(tell, AbortSignal.abort())
  assert.equal(listeners.size, 0)
})

test('who is taken away or added meanwhile is not told', () => {
  const listeners = new Listeners()
  const told = []
  listeners.add(() => { removeSecond(); listeners.add(() => told.push('late')) })
  const removeSecond = listeners.add(() => told.push('second'))
  listeners.emit()
  assert.deepEqual(told, [])
})

test('changes of one drain are told as one', () => {
  const change = (source, added, updated, removed) => ({ collection: 'c', source, added, updated, removed })
  const join = (...changes) => modules.changes.joinChanges(changes)
  assert.deepEqual(join(change('local', ['a'], [], []), change('local', ['b'], ['a'], [])), [change('local', ['a', 'b'], [], [])])
  assert.deepEqual(join(change('local', ['a'], [], []), change('local', [], [], ['a'])), [change('local', [], [], [])])
  assert.deepEqual(join(change('local', [], ['a'], []), change('local', [], [], ['a'])), [change('local', [], [], ['a'])])
  assert.deepEqual(join(change('local', [], [], ['a']), change('local', ['a'], [], [])), [change('local', [], ['a'], [])])
  assert.deepEqual(join(change('local', ['a'], [], []), change('remote', [], ['a'], [])).length, 2)
  const all = { ...change('tab', [], [], []), all: true }
  assert.deepEqual(join(all, change('tab', ['a'], [], [])), [all, change('tab', ['a'], [], [])])
})

test('verdicts of single mutations and of runs', () => {
  const verdicts = new Verdicts()
  const heard = []
  verdicts.watch([{ first: 'c:1', count: 1 }], { status: 'local' }, (list) => heard.push(['one', list]))
  verdicts.watch([{ first: 'c:1', count: 1 }], { status: 'local' }, (list) => heard.push(['again', list]))
  verdicts.watch([{ first: 'c:2', count: 2 }, null, { first: 'c:7', count: 1 }], { status: 'local' }, (list) => heard.push(['many', list]))
  verdicts.watch([null], { status: 'local' }, (list) => heard.push(['none', list]))
  verdicts.settle('c:3', { status: 'applied', rev: 3 })
  verdicts.settle('d:2', { status: 'applied', rev: 99 })
  verdicts.settle('c:1', { status: 'applied', rev: 1 })
  verdicts.settle('c:7', { status: 'applied', rev: 7 })
  verdicts.settle('c:3', { status: 'applied', rev: 33 })
  assert.deepEqual(heard.map(([name]) => name), ['none', 'one', 'again'])
  verdicts.settle('c:2', { status: 'applied', rev: 2 })
  assert.deepEqual(heard.at(-1), ['many', [{ status: 'applied', rev: 2 }, { status: 'applied', rev: 3 }, { status: 'local' }, { status: 'applied', rev: 7 }]])
})

test('what is open when the database closes is closed, also what comes later', () => {
  const verdicts = new Verdicts()
  const heard = []
  verdicts.watch([{ first: 'c:1', count: 1 }, { first: 'c:2', count: 2 }], { status: 'local' }, (list) => heard.push(list.map(({ status }) => status)))
  verdicts.settle('c:2', { status: 'applied' })
  verdicts.close()
  verdicts.watch([{ first: 'c:9', count: 1 }], { status: 'local' }, (list) => heard.push(list.map(({ status }) => status)))
  assert.deepEqual(heard, [['closed', 'applied', 'closed'], ['closed']])
})
