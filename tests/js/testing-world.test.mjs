// `homing/testing` as its users have it: the built package in Node, no browser. What the engine promises under faults is the business
// of the native simulation; here, that a world injects them, keeps time, repeats itself, and loses nothing.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test as declare } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { HomingError } from 'homing'
import { createWorld } from 'homing/testing'

const ROUGH = { 'lost-request': 0.1, 'lost-answer': 0.15, duplicate: 0.1, late: 0.1, unavailable: 0.05, 'rate-limited': 0.03, unauthorized: 0.05, 'too-large': 0.1 }
const COLLECTIONS = { flocks: {}, feed: { merge: 'append-only' }, settings: { merge: 'fields' }, orders: { ids: 'server' }, lines: { ids: 'server', references: { orderId: 'orders' } } }
/** A copy of this file that is started to tell a history runs no tests. */
const test = process.env.TELL === '1' ? () => {} : declare

/** Numbers for what a history does, apart from the world's own. */
function dice(seed) {
  let state = seed * 2654435761
  return (n) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 374761393) >>> 0
    return state % n
  }
}

/** Plays random acts on three devices, heals, settles; resolves to the world and what it must hold. */
async function play(seed) {
  const world = await createWorld({ collections: COLLECTIONS, seed, devices: 3, faults: ROUGH })
  const pick = dice(seed)
  const names = ['a', 'b', 'c']
  const facts = []
  for (let act = 0; act < 40; act++) {
    const name = names[pick(3)]
    const db = await world.reopen(name)
    const flocks = db.collection('flocks')
    const known = flocks.list()
    switch (pick(9)) {
      case 0: case 1:
        await db.collection('feed').insert({ kg: act, by: name })
        facts.push(act)
        break
      case 2: await flocks.put({ id: `f${pick(4)}`, name, count: act }); break
      case 3: if (known.length > 0) await flocks.update(known[pick(known.length)].id, { count: act }); break
      case 4: if (known.length > 0) await flocks.delete(known[pick(known.length)].id); break
      case 5: {
        const order = db.collection('orders').insert({ act })
        await db.collection('lines').insert({ orderId: order.recordId, act })
        break
      }
      case 6: {
        const settings = db.singleton('settings')
        await (settings.get() === undefined ? settings.set({ s0: act }) : settings.update({ [`s${pick(3)}`]: act }))
        break
      }
      case 7: world.network[pick(2) === 0 ? 'offline' : 'online'](name); break
      default:
        if (pick(2) === 0) flocks.put({ id: `f${pick(4)}`, name, count: act }).catch(() => {}) // in flight
        world.crash(name)
    }
    await world.advance(pick(3000))
  }
  world.network.heal()
  for (const name of names) await world.reopen(name)
  await world.settle()
  return { world, names, facts }
}

test('rough histories: nothing awaited is lost or doubled, and all devices end with what the server has', { timeout: 120_000 }, async () => {
  let faults = 0
  for (let seed = 1; seed <= 40; seed++) {
    const { world, names, facts } = await play(seed)
    for (const collection of Object.keys(COLLECTIONS)) {
      const rows = new Map(world.server.rows(collection).map((row) => [row.id, row]))
      for (const name of names) {
        const db = world.device(name)
        const open = new Set(db.conflicts.list({ status: 'unresolved' }).map(({ recordId }) => recordId))
        const here = db.collection(collection).list().filter(({ id }) => !open.has(id))
        assert.deepEqual(new Map(here.map((row) => [row.id, row])), new Map([...rows].filter(([id]) => !open.has(id))), `seed ${seed}, ${collection} on ${name}`)
      }
    }
    assert.deepEqual(world.server.rows('feed').map(({ kg }) => kg).sort((a, b) => a - b), facts, `seed ${seed}`)
    const orders = new Map(world.server.rows('orders').map(({ id, act }) => [id, act]))
    for (const line of world.server.rows('lines')) assert.equal(orders.get(line.orderId), line.act, `seed ${seed}`)
    faults += Object.values(world.network.injected).reduce((sum, n) => sum + n, 0)
    await world.close()
  }
  assert.ok(faults >= 40 * 5, `${faults} faults`)
})

const told = ({ world, names }) => JSON.stringify([world.now, world.log, world.network.injected, world.server.rows('feed'), ...names.map((name) => world.device(name).collection('orders').list())])

test('equal seeds give equal histories, in another process too; other seeds give others', { timeout: 60_000 }, async () => {
  const [first, second, other] = [told(await play(3)), told(await play(3)), told(await play(4))]
  assert.equal(first, second)
  assert.notEqual(first, other)
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), '3'], { env: { ...process.env, NODE_TEST_CONTEXT: '', TELL: '1' }, maxBuffer: 1e8 })
  assert.equal(stdout.trim(), first)
})

test('a fault that is scripted happens once, to that device', async () => {
  for (const fault of ['lost-request', 'lost-answer', 'duplicate', 'late', 'unavailable', 'rate-limited', 'unauthorized']) {
    const world = await createWorld({ seed: 5 })
    await world.settle()
    const began = world.now
    world.network.next(fault, { device: 'b' })
    const sales = ['a', 'b'].map((name) => world.device(name).collection('sales'))
    const [mine, theirs] = sales.map((sale, n) => sale.insert({ id: `s${n}` }))
    await world.settle()
    assert.deepEqual(world.network.injected, { [fault]: 1 })
    assert.equal(world.log.filter((line) => line.endsWith(fault)).map((line) => line.split(' ')[1]).join(), 'b', fault)
    assert.deepEqual([(await mine.settled).status, (await theirs.settled).status], ['applied', 'applied'], fault)
    assert.deepEqual(world.server.rows('sales').map(({ id }) => id).sort(), ['s0', 's1'], fault)
    if (['lost-request', 'lost-answer', 'unavailable', 'rate-limited'].includes(fault)) {
      const times = world.log.filter((line) => line.includes(' b push')).map((line) => Number(line.split(' ')[0]))
      assert.ok(times.length === 2 && times[1] > times[0], `${fault}: it is sent again, later`)
    }
    if (fault === 'rate-limited') assert.ok(world.now - began >= 1000, 'it waited as told')
    await world.close()
  }
  const world = await createWorld()
  await world.settle()
  world.network.next('too-large')
  await world.device('a').collection('sales').insertMany([{}, {}, {}])
  await world.settle()
  assert.equal(world.server.rows('sales').length, 3)
  assert.deepEqual(world.network.injected, { 'too-large': 1 })
  assert.throws(() => world.network.next('earthquake'), /No such fault/)
})

test('time passes only when it is told to, and the engine keeps to it', async () => {
  const world = await createWorld({ start: '2026-05-01T08:00:00.000Z' })
  await world.settle()
  world.network.offline('b')
  const { now } = world
  const db = world.device('a')
  await db.collection('c').insert({ id: 'x' })
  await new Promise((done) => setTimeout(done, 20))
  assert.equal(world.now, now)
  assert.equal(db.collection('c').get('x')._updatedAt, '2026-05-01T08:00:00.000Z')
  await world.advance(3_600_000)
  assert.equal(world.now, now + 3_600_000)
  assert.equal(world.device('b').collection('c').count(), 0)
  assert.equal(world.device('b').status.getSnapshot().state, 'offline')
  const polls = world.log.filter((line) => line.includes(' a pull')).length
  assert.ok(polls >= 55 && polls <= 65, `${polls} polls in an hour`)
  world.network.online('b')
  await world.settle()
  assert.equal(world.device('b').collection('c').count(), 1)
  await world.close()
})

test('a crash loses what was in flight or not, never what was durable, and nothing of the dead page goes on', async () => {
  for (const lands of [true, false]) {
    const world = await createWorld({ devices: ['phone'] })
    await world.settle()
    world.network.offline('phone')
    const old = world.device('phone')
    await old.collection('c').insert({ id: 'durable' })
    // Sent once: a page that goes on would send it again without a word to its disk.
    world.network.online('phone')
    world.network.next('lost-answer')
    await world.advance(0)
    assert.match(world.log.at(-1), /phone push 1: lost-answer/)
    world.network.offline('phone')
    const write = old.collection('c').insert({ id: 'in-flight' })
    world.crash('phone', { lands })
    await assert.rejects(write, (error) => error instanceof HomingError && error.code === 'closed')
    assert.throws(() => world.device('phone'), /reopen/)
    world.network.online('phone')
    const asked = world.log.length
    await world.advance(600_000)
    assert.equal(world.log.length, asked, 'a dead page asks nothing')
    const db = await world.reopen('phone')
    assert.deepEqual(db.collection('c').list().map(({ id }) => id), lands ? ['durable', 'in-flight'] : ['durable'])
    await world.settle()
    assert.equal(world.server.rows('c').length, lands ? 2 : 1)
    await world.close()
  }
})

test("a rule of the server's own makes a dead letter; all else goes on", async () => {
  const world = await createWorld({ refuse: ({ record }) => (record?.price < 0 ? { message: 'A price is not negative.', path: '/record/price' } : undefined) })
  const db = world.device('a')
  await db.collection('sales').insertMany([{ id: 'good', price: 1 }, { id: 'bad', price: -1 }])
  await world.settle()
  assert.deepEqual(db.deadLetters.list().map(({ recordId, message, path }) => [recordId, message, path]), [['bad', 'A price is not negative.', '/record/price']])
  assert.deepEqual(world.device('b').collection('sales').list().map(({ id }) => id), ['good'])
  await world.close()
})

test('a wrong clock does not win', async () => {
  const world = await createWorld()
  await world.settle()
  world.skew('a', 3_600_000)
  await world.device('a').collection('c').insert({ id: 'x', by: 'a' })
  await world.settle()
  assert.equal(world.device('a').metrics().skewMs, -3_600_000)
  await world.advance(1000)
  await world.device('b').collection('c').update('x', { by: 'b' })
  await world.settle()
  assert.deepEqual(['a', 'b'].map((name) => world.device(name).collection('c').get('x').by), ['b', 'b'])
  await world.close()
})

test('what cannot settle says why; what needs time is run', async () => {
  const world = await createWorld({ seed: 9, devices: ['a'], faults: { unavailable: 1 }, sync: { timeout: 120_000 } })
  await world.device('a').collection('c').insert({})
  await assert.rejects(world.settle({ within: 3_600_000 }), /seed 9.*a has 1 unsent writes/)
  world.network.heal()
  await world.settle()
  world.network.next('late')
  const began = world.now
  const { requestId } = await world.run(world.device('a').sync())
  assert.ok(requestId.length > 0 && world.now > began)
  assert.throws(() => world.device('z'), /No such device: z. There are: a/)
  await world.close()
  assert.throws(() => world.device('a'), /no open database/)
  await assert.rejects(createWorld({ collections: { c: { merge: 'dice' } } }), (error) => error instanceof Error && /dice/.test(error.message))
})

if (process.env.TELL === '1') console.log(told(await play(Number(process.argv[2]))))

test('what its author misspelt is an error of the test, not a test that passes', async () => {
  const refused = [
    { fualts: {} }, { faults: { 'lost-anwser': 1 } }, { faults: { late: 2 } }, { faults: { late: '1' } }, { seed: 'x' }, { devices: 0 }, { devices: ['a', 'a'] },
    { start: 'yesterday' }, { refuse: 'all' }, { sync: { url: 'https://example.org' } }, { sync: { debounc: 1 } }, { collections: { flocks: { merge: 'newest' } } },
  ]
  for (const options of refused) await assert.rejects(createWorld(options), JSON.stringify(options))
  const world = await createWorld({ collections: { flocks: {} }, devices: ['a', 'b'] })
  const { network } = world
  const bad = [
    () => network.next('late', { device: 'phone' }), () => network.next('late', { times: 0 }), () => network.next('layte'), () => network.offline('z'), () => network.online('z'),
    () => { network.faults = { 'lost-anwser': 1 } }, () => { network.faults.late = 7 }, () => { network.faults['lost-anwser'] = 1 }, () => world.skew('a', NaN),
  ]
  for (const call of bad) assert.throws(call, TypeError, call.toString())
  await assert.rejects(world.advance(-1), TypeError)
  await assert.rejects(world.advance(NaN), TypeError)
  await assert.rejects(world.settle({ within: 'long' }), TypeError)
  network.heal()
  network.faults.late = 0.5
  assert.deepEqual({ ...network.faults }, { late: 0.5 })
  network.heal()
  await world.device('a').collection('flocks').insert({ id: 'f1' })
  await world.settle()
  await world.close()
})

test('time never runs backwards, and who waits in vain hears what for', async () => {
  const world = await createWorld({ collections: { flocks: {} } })
  const began = world.now
  await Promise.all([world.advance(1000), world.advance(100)])
  assert.equal(world.now - began, 1000)
  world.network.offline('a')
  const write = world.device('a').collection('flocks').insert({ id: 'f1' })
  await write
  const from = world.now
  await assert.rejects(world.run(write.settled, { within: 60_000 }), /a is offline/)
  assert.ok(world.now - from <= 60_000)
  await assert.rejects(world.run(write.settled), /within 86400000 ms/)
  world.network.online('a')
  assert.equal((await world.run(write.settled)).status, 'applied')
  await world.close()
})

test('onConflict is asked as in a page: also about what is left from before a crash; settling waits for it; locks of the page play no part', async () => {
  const { locks } = globalThis.navigator ?? {}
  // As where another tab of the browser that runs the test holds every lock.
  if (globalThis.navigator !== undefined) Object.defineProperty(globalThis.navigator, 'locks', { value: { request: () => new Promise(() => {}) }, configurable: true })
  try {
    const histories = []
    for (let time = 0; time < 2; time++) {
      const asked = []
      let answers = false
      const onConflict = ({ mine, theirs }) => {
        asked.push(`${mine.n} ${theirs.n}`)
        return answers ? { n: mine.n + theirs.n } : new Promise(() => {})
      }
      const world = await createWorld({ collections: { flocks: { merge: 'manual', onConflict } }, seed: 3, faults: { late: 0.2 } })
      const [a, b] = ['a', 'b'].map((name) => world.device(name).collection('flocks'))
      await a.insert({ id: 'f', n: 0 })
      await world.settle()
      await a.update('f', { n: 1 })
      await world.run(world.device('a').sync())
      await b.update('f', { n: 2 })
      await assert.rejects(world.settle({ within: 600_000 }), /onConflict of b has not answered/)
      assert.deepEqual(asked, ['2 1'])
      world.crash('b')
      answers = true
      await world.reopen('b')
      await world.settle()
      assert.deepEqual([asked, a.get('f').n, world.device('b').collection('flocks').get('f').n], [['2 1', '2 1'], 3, 3])
      histories.push(world.log.join('\n'))
      await world.close()
    }
    assert.equal(histories[0], histories[1])
  } finally {
    if (globalThis.navigator !== undefined) Object.defineProperty(globalThis.navigator, 'locks', { value: locks, configurable: true })
  }
})
