// A handler that does not answer: the app is told, and the answer counts when it comes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { Asking } = modules.asking

test('a late answer is reported as late, and counts', async () => {
  let answer
  const resolved = []
  const told = new Promise((resolve) => {
    const host = {
      name: 'n', scope: '', ended: new AbortController(), ownConflicts: () => ['arc_1'], conflict: (id) => ({ id, collection: 'c' }),
      declaration: { collections: { c: { onConflict: () => new Promise((decide) => { answer = decide }) } } },
      catchUp: async () => {}, resolve: async (...decision) => { resolved.push(decision) }, dispatch: (_, error) => resolve(error),
    }
    const asking = new Asking(host, 1)
    asking.look()
    asking.look() // what is asked already is not asked again
  })
  assert.equal((await told).code, 'timeout')
  assert.deepEqual(resolved, [])
  answer('mine')
  await new Promise((resolve) => setTimeout(resolve))
  assert.deepEqual(resolved, [['arc_1', 'mine']])
})
