// Invariant 5 for `onConflict` and `logger`: every API may be called in them, also the end of the database; what a handler answers
// too late, or never, holds nothing up and changes nothing. What its answers do: tests/js/conflicts.test.mjs.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openFarm } from './farm.mjs'

let farm

before(async () => { farm = await openFarm({ asked: { merge: 'manual' }, other: {} }) })
after(async () => {
  await farm.close()
  assert.deepEqual(farm.site.problems, [])
})

test('invariant 5: every API may be called from onConflict and from a logger', async () => {
  for (const kind of ['onConflict', 'logger']) {
    const result = await farm.run(async (token, kind) => {
      const seen = []
      const promised = []
      let work = () => {}
      let db
      const inside = () => {
        work = () => {}
        const c = db.collection('other')
        const waiting = db.conflicts.list({ status: 'unresolved' })[0]
        const calls = [
          () => promised.push(c.insert({ id: 'inside', n: 1 })), () => promised.push(c.update('inside', { n: 2 })), () => promised.push(c.put({ id: 'put', n: 3 })), () => promised.push(c.delete('old')), () => promised.push(c.undelete('old')),
          () => promised.push(db.batch((tx) => tx.collection('other').insert({ id: 'batch' }))), () => promised.push(c.insertMany([{ id: 'many' }])),
          () => c.get('inside').n, () => c.list().length, () => c.query({}).getSnapshot().length, () => c.subscribe(() => {})(), () => c.state('inside'), () => c.confirmed('old').n, () => db.status.getSnapshot().state, () => db.queue.list().length, () => db.queue.explain(), () => db.deadLetters.list(), () => db.metrics().toPrometheus(),
          () => promised.push(db.exportDocument().then((tree) => db.saveDocument(tree))), () => promised.push(db.importDocument({ other: [{ id: 'imported' }] })), () => promised.push(failure(db.sync())), () => db.pause(), () => db.resume(),
          () => db.conflicts.get(waiting?.id ?? ''), () => db.conflicts.patch(waiting?.id ?? ''), () => promised.push(failure(db.conflicts.reinstate('arc_none'))), () => promised.push(db.conflicts.purge({ before: '2020-01-01' })),
          () => waiting && promised.push(db.conflicts.resolve(waiting.id, { n: 7 })),
        ]
        for (const call of calls) {
          try {
            call()
          } catch (error) {
            seen.push(`${call}: ${error.message}`)
          }
        }
      }
      const a = await device(crypto.randomUUID(), token)
      db = await device(crypto.randomUUID(), token, kind === 'onConflict' ? () => { work(); return 'mine' } : undefined, { logger: () => { if (kind === 'logger') work() } })
      await db.collection('other').insert({ id: 'old', n: 1 })
      await db.sync()
      if (kind === 'onConflict') work = inside
      const { id } = await meeting(a, db, 'asked')
      if (kind === 'logger') {
        work = inside
        // The logger pauses the very cycle that told it something.
        await failure(db.sync())
      }
      await until(() => db.conflicts.list({ recordId: id, status: 'unresolved' }).length === 0, db.conflicts)
      await Promise.all(promised)
      do await db.sync()
      while (db.status.getSnapshot().pending > 0)
      await a.sync()
      const states = ['inside', 'put', 'old', 'batch', 'many', 'imported'].map((id) => db.collection('other').state(id))
      return { seen, states, n: [a, db].map((one) => one.collection('asked').get(id).n), inside: a.collection('other').get('inside').n, count: promised.length }
    }, kind)
    // What was decided inside the handler stands; its own answer comes after it.
    assert.deepEqual(result, { seen: [], states: Array(6).fill('synced'), n: [7, 7], inside: 2, count: 13 }, kind)
  }
})

test('invariant 5: a logger that throws, and one that ends the database', async () => {
  const result = await farm.run(async (token) => {
    const name = crypto.randomUUID()
    const errors = []
    const keep = (event) => { event.preventDefault(); errors.push(event.error?.message) }
    window.addEventListener('error', keep)
    let db = await device(name, token, undefined, { logger: () => { throw new Error('the logger is broken') } })
    await db.collection('other').insert({ id: 'a' })
    await db.sync()
    await new Promise((resolve) => setTimeout(resolve))
    const thrown = [errors.length > 0 && errors.every((message) => message === 'the logger is broken'), db.collection('other').state('a')]
    window.removeEventListener('error', keep)
    await db.close()
    let closing
    db = await device(name, token, undefined, { logger: () => { closing ??= db?.close() } })
    await db.collection('other').insert({ id: 'b' })
    await failure(db.sync())
    await closing
    const code = (await failure(db.collection('other').insert({ id: 'c' }))).code
    const again = await device(name, token)
    await again.sync()
    return { thrown, code, left: again.status.getSnapshot().pending, ids: again.collection('other').list().map(({ id }) => id) }
  })
  assert.deepEqual(farm.site.problems.splice(0).filter((problem) => !problem.startsWith('Error: the logger is broken')), [])
  assert.deepEqual(result, { thrown: [true, 'synced'], code: 'closed', left: 0, ids: ['a', 'b'] })
})

for (const end of ['close', 'wipe']) {
  test(`invariant 5: what onConflict answers after ${end}() changes nothing, and the next session asks`, async () => {
    const result = await farm.run(async (token, end) => {
      const a = await device(crypto.randomUUID(), token)
      const name = crypto.randomUUID()
      let answer
      const asked = []
      const late = new Promise((resolve) => { answer = resolve })
      let ended
      const b = await device(name, token, async (conflict) => {
        asked.push(conflict.recordId)
        // From inside the handler: nothing waits for its answer.
        ended = end === 'wipe' ? b.wipe({ discardPending: true }) : b.close()
        return late
      })
      const errors = []
      b.addEventListener('error', ({ detail }) => errors.push(detail.code))
      const { id } = await meeting(a, b, 'asked').catch(() => ({ id: asked[0] }))
      while (ended === undefined) await new Promise((resolve) => setTimeout(resolve))
      await ended
      const next = await device(name, token)
      await next.sync()
      answer('mine')
      await next.sync()
      const untouched = [next.conflicts.list({ recordId: id }).map(({ status }) => status), next.queue.list().length, next.collection('asked').get(id).n, next.collection('asked').state(id)]
      await next.close()
      // Only who ran into it is asked: after a wipe nobody has a version of his own.
      const again = []
      const last = await device(name, token, (conflict) => (again.push(conflict.recordId), 'mine'))
      if (end === 'close') await until(() => last.conflicts.list({ status: 'unresolved' }).length === 0, last.conflicts)
      else await last.sync()
      await last.sync()
      return { asked: asked.length, untouched, errors, again: again.map((it) => it === id), n: last.collection('asked').get(id).n }
    }, end)
    const kept = end === 'close'
    assert.deepEqual(result, { asked: 1, untouched: [['unresolved'], 0, kept ? 2 : 1, 'conflict'], errors: [], again: kept ? [true] : [], n: kept ? 2 : 1 })
  })
}

test('a handler that never answers holds nothing up: other records, other conflicts, a person, the end', async () => {
  const result = await farm.run(async (token) => {
    const a = await device(crypto.randomUUID(), token)
    const b = await device(crypto.randomUUID(), token, ({ recordId }) => stuck.size === 0 ? (stuck.add(recordId), new Promise(() => {})) : 'theirs')
    const stuck = new Set()
    const first = await meeting(a, b, 'asked')
    const second = await meeting(a, b, 'asked')
    await until(() => b.conflicts.list({ recordId: second.id, status: 'unresolved' }).length === 0, b.conflicts)
    await b.collection('other').insert({ id: crypto.randomUUID() })
    await b.sync()
    const waiting = [b.conflicts.list({ status: 'unresolved' }).map(({ recordId }) => recordId === first.id), b.queue.list().length, b.status.getSnapshot().conflicts]
    const verdict = b.conflicts.resolve(b.conflicts.list({ recordId: first.id })[0].id, 'mine')
    await verdict
    await b.sync()
    await a.sync()
    const decided = [(await verdict.settled).status, a.collection('asked').get(first.id).n, a.collection('asked').get(second.id).n]
    await b.close()
    return { waiting, decided }
  })
  assert.deepEqual(result, { waiting: [[true], 0, 1], decided: ['applied', 2, 1] })
})
