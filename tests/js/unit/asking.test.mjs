// When the app's `onConflict` is asked, and what becomes of its answers, without an engine. With one: tests/js/conflicts.test.mjs and
// tests/js/asking.test.mjs.

import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { modules } from './modules.mjs'

const { asking: { Asking }, errors: { HomingError } } = modules

/** A database with conflicts `open`, whose handler is `onConflict`; what came of it. `told(n)`: after so many errors. */
function database(onConflict, { open = ['arc_1'], resolve = async () => {}, patience } = {}) {
  const it = { asked: [], resolved: [], errors: [], logged: [], own: open, ended: new AbortController() }
  let heard = () => {}
  const host = {
    name: 'n', scope: '', ended: it.ended, ownConflicts: () => it.own, conflict: (id) => ({ id, collection: id === 'arc_else' ? 'else' : 'c' }),
    declaration: { collections: { c: { onConflict: (conflict) => { it.asked.push(conflict.id); return onConflict(conflict) } }, else: {} } },
    catchUp: async () => { it.caughtUp = true },
    resolve: async (...decision) => { it.resolved.push(decision); await resolve(...decision) },
    dispatch: (_, error) => { it.errors.push(error.code); heard() },
  }
  it.asking = new Asking(host, undefined, patience)
  it.asking.start((entry) => it.logged.push(JSON.parse(entry).data.code))
  it.told = async (n) => { while (it.errors.length < n) await new Promise((resolve) => { heard = resolve }) }
  return it
}

/** All that is decided already has happened. */
const settled = () => new Promise((resolve) => setTimeout(resolve))

/** Locks as browsers have them; the first in line is served. */
function giveLocks() {
  const held = new Map()
  const locks = {
    request: async (name, { signal }, work) => {
      while (held.has(name)) await held.get(name)
      signal.throwIfAborted()
      const done = work()
      held.set(name, done.catch(() => {}).finally(() => held.delete(name)))
      return done
    },
  }
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true })
}

const without = () => Object.defineProperty(globalThis, 'navigator', { value: undefined, configurable: true })
without()
afterEach(without)

test('each conflict of this device is asked about once, at the start or when it comes', async () => {
  const it = database(() => 'mine', { open: ['arc_1', 'arc_else'] })
  assert.deepEqual(it.asked, [], 'the app has its database first')
  await settled()
  it.own = ['arc_1', 'arc_2']
  for (let n = 0; n < 3; n++) it.asking.look()
  await settled()
  assert.deepEqual([it.asked, it.resolved, it.errors], [['arc_1', 'arc_2'], [['arc_1', 'mine'], ['arc_2', 'mine']], []])
})

test('every answer, at once or later, is the decision', async () => {
  for (const answer of ['mine', 'theirs', 'both', { n: 1 }]) {
    for (const handler of [() => answer, async () => answer, () => new Promise((resolve) => setTimeout(resolve, 0, answer))]) {
      const it = database(handler)
      for (let turn = 0; turn < 4; turn++) await settled()
      assert.deepEqual([it.resolved, it.errors], [[['arc_1', answer]], []])
    }
  }
})

test('a handler that throws or rejects is reported, as error and in the log, and decides nothing', async () => {
  for (const handler of [() => { throw new Error('no idea') }, () => Promise.reject(new Error('later'))]) {
    const it = database(handler)
    await it.told(1)
    it.asking.look()
    await settled()
    assert.deepEqual([it.errors, it.logged, it.resolved, it.asked], [['aborted'], ['aborted'], [], ['arc_1']])
  }
})

test('an answer that cannot be used is reported; one about a settled conflict is not', async () => {
  for (const [code, told] of [['invalid-record', ['invalid-record']], ['not-found', []]]) {
    const it = database(() => 'perhaps', { resolve: async () => { throw new HomingError({ code, message: code, phase: 'write' }) } })
    await settled()
    await settled()
    assert.deepEqual([it.errors, it.resolved.length], [told, 1])
  }
})

test('a late answer is reported as late, and counts', async () => {
  let answer
  const it = database(() => new Promise((decide) => { answer = decide }), { patience: 1 })
  await it.told(1)
  assert.deepEqual([it.errors, it.resolved], [['timeout'], []])
  answer('mine')
  await settled()
  assert.deepEqual([it.resolved, it.errors], [[['arc_1', 'mine']], ['timeout']])
})

test('an answer after the end decides nothing, nobody is asked or told of anything any more', async () => {
  let answer
  const it = database(() => new Promise((decide) => { answer = decide }), { patience: 20 })
  await settled()
  it.ended.abort()
  await new Promise((resolve) => setTimeout(resolve, 40))
  answer('mine')
  it.own = ['arc_2']
  it.asking.look()
  await settled()
  assert.deepEqual([it.asked, it.resolved, it.errors], [['arc_1'], [], []])
})

test('of two tabs one asks; the other finds it settled; the end of a tab lets the other ask', async () => {
  giveLocks()
  let answer
  const one = database(() => new Promise((decide) => { answer = decide }), { resolve: async () => { two.own = [] } })
  const two = database(() => 'theirs')
  await settled()
  assert.deepEqual([one.asked, one.caughtUp, two.asked], [['arc_1'], true, []])
  answer('mine')
  await settled()
  await settled()
  assert.deepEqual([one.resolved, two.asked, two.caughtUp], [[['arc_1', 'mine']], [], true], 'it was settled meanwhile')

  const silent = database(() => new Promise(() => {}))
  const heir = database(() => 'theirs')
  await settled()
  assert.deepEqual([silent.asked, heir.asked], [['arc_1'], []])
  silent.ended.abort()
  await settled()
  await settled()
  assert.deepEqual([heir.resolved, silent.resolved, silent.errors], [[['arc_1', 'theirs']], [], []])
})
