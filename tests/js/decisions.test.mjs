// Whom a decision preferred, as the app reads it before the server has answered.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createWorld } from 'homing/testing'

test('a conflict decided offline names the winner that it will have', async () => {
  for (const [choice, winner] of [['mine', 'mine'], ['theirs', 'theirs'], [{ n: 7 }, 'merged'], ['both', 'merged']]) {
    const world = await createWorld({ collections: { flocks: { merge: 'manual' } } })
    const [a, b] = ['a', 'b'].map((name) => world.device(name))
    await a.collection('flocks').insert({ id: 'f', n: 0 })
    await world.settle()
    await a.collection('flocks').update('f', { n: 1 })
    await world.run(a.sync())
    await b.collection('flocks').update('f', { n: 2 })
    await world.settle()
    world.network.offline('b')
    const [{ id }] = b.conflicts.list({ status: 'unresolved' })
    await b.conflicts.resolve(id, choice)
    const told = () => [b.conflicts.get(id), ...b.conflicts.list({ recordId: 'f' })].map(({ status, winner: who }) => `${status} ${who}`)
    assert.deepEqual(new Set(told()), new Set([`resolved ${winner}`]), `${JSON.stringify(choice)}, before the server has answered`)
    world.network.online('b')
    await world.settle()
    assert.deepEqual(new Set(told()), new Set([`resolved ${winner}`]), `${JSON.stringify(choice)}, and after`)
    await world.close()
  }
})
