// Whose turn it is to send, with locks that behave as the specification says and a clock that is moved by hand. Real browsers:
// `tests/faults/tabs.test.mjs`.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { modules } from './modules.mjs'

const { Turns } = modules.turns

/** One lock of a `LockManager`. */
class Locks {
  held = null
  queue = []

  request(_name, { signal, steal = false }, callback) {
    return new Promise((resolve, reject) => {
      const aborted = () => reject(new DOMException('aborted', 'AbortError'))
      if (signal?.aborted) return aborted()
      const lock = { reject, start: () => { callback({}).then(() => this.#next(lock, resolve)) } }
      signal?.addEventListener('abort', () => {
        if (!this.queue.includes(lock)) return
        this.queue.splice(this.queue.indexOf(lock), 1)
        aborted()
      })
      if (steal) {
        this.held?.reject(new DOMException('stolen', 'AbortError'))
        this.held = null
        this.queue.unshift(lock)
      } else this.queue.push(lock)
      this.#grant()
    })
  }

  #next(lock, resolve) {
    resolve()
    if (this.held === lock) this.held = null
    this.#grant()
  }

  #grant() {
    if (this.held !== null || this.queue.length === 0) return
    this.held = this.queue.shift()
    this.held.start()
  }
}

let locks
let tabs
beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  locks = new Locks()
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks } })
  tabs = []
})
afterEach(() => {
  for (const { ended } of tabs) ended.abort()
  mock.timers.reset()
})

/** A tab that hears the others' signs of life, unless it is frozen: then its own are not heard either. */
function tab() {
  const ended = new AbortController()
  const made = { ended, frozen: false, beats: 0 }
  made.turns = new Turns('farm', () => {
    if (made.frozen) return
    made.beats += 1
    for (const other of tabs) if (other !== made) other.turns.heard()
  }, ended.signal)
  made.take = () => {
    made.end = undefined
    made.turns.take().then((end) => { made.end = end })
  }
  tabs.push(made)
  return made
}

async function pass(seconds) {
  for (let n = 0; n < seconds * 2; n += 1) {
    mock.timers.tick(500)
    await new Promise(setImmediate)
  }
}

test('one at a time, in order; who is alive is waited for as long as it takes', async () => {
  const [a, b] = [tab(), tab()]
  a.take()
  b.take()
  await pass(60)
  assert.deepEqual([typeof a.end, b.end], ['function', undefined])
  assert.ok(a.beats > 50)
  a.end()
  await pass(1)
  assert.equal(typeof b.end, 'function')
  const { beats } = a
  await pass(5)
  assert.equal(a.beats, beats, 'who has not the turn gives no signs of having it')
})

test('from one without a sign of life the turn is taken, not before 5 s and not long after; when it wakes it knows', async () => {
  const [a, b, c] = [tab(), tab(), tab()]
  a.take()
  await pass(2)
  a.frozen = true
  b.take()
  c.take()
  await pass(4.5)
  assert.deepEqual([b.end, c.end], [undefined, undefined])
  await pass(2)
  const taken = [b, c].filter(({ end }) => end !== undefined)
  assert.equal(taken.length, 1, 'one takes it; the other hears of that one')
  a.frozen = false
  const { beats } = a
  await pass(3)
  assert.equal(a.beats, beats)
  a.end()
  taken[0].end()
  await pass(1)
  assert.equal([b, c].filter(({ end }) => end !== undefined).length, 2)
})

test('the end of the session ends waiting; a page that is put aside lets go', async () => {
  const [a, b, c] = [tab(), tab(), tab()]
  a.take()
  b.take()
  c.take()
  await pass(1)
  b.ended.abort()
  await pass(1)
  assert.deepEqual([b.end, c.end], [null, undefined])
  a.turns.release()
  await pass(1)
  assert.equal(typeof c.end, 'function')
  b.take()
  await pass(1)
  assert.equal(b.end, null)
})

test('without locks, and where asking for one fails, everybody may send', async () => {
  locks.request = () => Promise.reject(new DOMException('a sandboxed frame', 'SecurityError'))
  const a = tab()
  a.take()
  await pass(1)
  assert.equal(a.end, null)
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: {} })
  a.take()
  await pass(1)
  assert.equal(a.end, null)
})
