// What belongs together, and what must not hold up the rest.

import { deepStrictEqual as same, ok } from 'node:assert'

const statuses = (results) => results.map(({ status }) => status)

/** @type {readonly import('./cases.mjs').Case[]} */
export const TOGETHER = [
  {
    name: 'parents',
    promise: 'what depends on a refused mutation is blocked until that is retried, its siblings are not',
    async story(run) {
      const device = run.device('a')
      const bad = device.mutation('create', run.id('parent'), { n: 1 })
      bad.collection = '_conflictArchive'
      const child = device.mutation('create', run.id('child'), { parent: bad.recordId }, { dependsOn: [bad.id] })
      const sibling = device.mutation('create', run.id('sibling'), {})
      same(statuses(await device.push(bad, child, sibling)), ['rejected', 'blocked', 'applied'])
      const retry = device.mutation('create', run.id('parent'), { n: 1 }, { retryOf: bad.id })
      same(statuses(await device.push(retry, { ...child, dependsOn: [retry.id] })), ['applied', 'applied'], 'a retry is a new mutation, and what was blocked has no receipt')
    },
  },
  {
    name: 'groups',
    promise: 'mutations of one group are applied or refused together',
    async story(run) {
      const device = run.device('a')
      const group = run.id('group')
      const good = device.mutation('create', run.id('grouped'), { n: 1 }, { group })
      const bad = { ...device.mutation('create', run.id('bad'), {}, { group }), collection: '_conflictArchive' }
      const results = await device.push(good, bad)
      ok(results.every(({ status }) => status === 'rejected'), String(statuses(results)))
      same((await run.device('reader').pull()).row(run.id('grouped')), undefined)
    },
  },
  {
    name: 'bad-input',
    promise: 'a record that nobody can store is refused alone, with code and path; what came with it is applied',
    async story(run) {
      const device = run.device('a')
      const texts = {
        'another id': '{"id":"another"}', 'no record': '[]', 'a number that is none': '{"id":"ID","n":1e400}', 'half a character': '{"id":"ID","n":"\\ud800"}',
        'a number that JavaScript rounds': '{"id":"ID","n":9007199254740993}', 'too deep': `{"id":"ID","n":${'['.repeat(150)}${']'.repeat(150)}}`,
        'another stamp': '{"id":"ID","_updatedAt":"2020-01-01T00:00:00.000Z"}', 'a tombstone': '{"id":"ID","_deletedAt":"2020-01-01T00:00:00.000Z"}',
      }
      const good = ['before', 'after'].map((name) => device.mutation('create', run.id(name), {}))
      const bad = Object.keys(texts).map((_, n) => device.mutation('create', run.id(`bad${n}`), {}))
      const unusable = [{ collection: '' }, { collection: '$mine' }, { recordId: 'x'.repeat(129) }, { recordId: 'a\nb' }, { updatedAt: 'yesterday' }]
        .map((wrong, n) => ({ ...device.mutation('create', run.id(`unusable${n}`), {}), ...wrong }))
      const request = device.request([good[0], ...bad, ...unusable, good[1]], { limit: 1 })
      // As text: JavaScript cannot say some of it.
      const marked = JSON.stringify({ ...request, mutations: request.mutations.map((one) => (bad.includes(one) ? { ...one, record: `<${bad.indexOf(one)}>` } : one)) })
      const body = Object.values(texts).reduce((text, record, n) => text.replace(`"<${n}>"`, () => record.replace('ID', bad[n].recordId)), marked)
      const { status, body: answer } = await run.ask({ method: 'POST', body })
      same(status, 200, `one bad record spoils the whole request: ${JSON.stringify(answer)}`)
      const results = answer.results
      same([results[0].status, results.at(-1).status], ['applied', 'applied'], 'good records beside bad ones')
      for (const [n, what] of [...Object.keys(texts), ...unusable.map((one) => JSON.stringify(one))].entries()) {
        const { status, code, path } = results[n + 1]
        ok(status === 'rejected' && typeof code === 'string' && path?.startsWith('/'), `${what}: ${JSON.stringify(results[n + 1])}`)
      }
      // Names that mean something to a language are names like any other.
      const name = run.id('names')
      const [kept] = await device.push(device.mutation('create', name, { ...JSON.parse('{"__proto__":1}'), constructor: 2, toString: 3 }))
      const row = (await run.device('reader').pull()).row(name)
      if (kept.status === 'applied') same([Object.hasOwn(row, 'constructor') && row.constructor, Object.hasOwn(row, 'toString') && row.toString], [2, 3])
    },
  },
]
