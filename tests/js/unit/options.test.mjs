// What `openDatabase` is given: what is not known, or cannot be followed, is refused with the place, before anything is opened.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { modules, refusal } from './modules.mjs'

const { options: { declare } } = modules
const sync = { url: 'https://example.org' }
const refused = (path) => ({ code: 'invalid-record', path })
const messageOf = (options) => {
  try {
    declare(options)
  } catch (error) {
    return error.message
  }
  return 'nothing was thrown'
}

test('an option that is not known is refused with its place, and the nearest name', () => {
  for (const [options, path, nearest] of [
    [{ colections: {} }, '/colections', 'collections'],
    [{ maxqueue: 5 }, '/maxqueue', 'maxQueue'],
    [{ mergePolicy: 'manual' }, '/mergePolicy', null],
    [{ collections: { flocks: { mergePolicy: 'manual' } } }, '/collections/flocks/mergePolicy', null],
    [{ collections: { 'a/b': { lable: 'name' } } }, '/collections/a~1b/lable', 'label'],
    [{ collections: { days: { ordinal: { feild: 'n' } } } }, '/collections/days/ordinal/feild', 'field'],
    [{ sync: { ...sync, timeOut: 5 } }, '/sync/timeOut', 'timeout'],
    [{ sync: { ...sync, batch: { mutation: 5 } } }, '/sync/batch/mutation', 'mutations'],
    [{ platform: { fetsh: () => {} } }, '/platform/fetsh', 'fetch'],
    [JSON.parse('{"__proto__": 1, "name": "x"}'), '/__proto__', null],
    [{ toString: () => 'x' }, '/toString', null],
  ]) {
    const given = { name: 'x', ...options }
    assert.deepEqual(refusal(() => declare(given)), refused(path), path)
    if (nearest !== null) assert.match(messageOf(given), new RegExp(`'${nearest}'`), path)
  }
})

test('what is not there yet says so, and what is there under another name', () => {
  for (const [options, path, says] of [
    [{ encryption: {} }, '/encryption', /not there yet/],
    [{ collections: { a: { validate: {} } } }, '/collections/a/validate', /not there yet.*schema/],
    [{ collections: { a: { migrate: {} } } }, '/collections/a/migrate', /not there yet/],
    [{ collections: { a: { label: () => 'x' } } }, '/collections/a/label', /not there yet.*field/],
    [{ wasm: new Uint8Array() }, '/wasm', /homing\/slim/],
  ]) {
    assert.deepEqual(refusal(() => declare({ name: 'x', ...options })), refused(path), path)
    assert.match(messageOf({ name: 'x', ...options }), says, path)
  }
})

test('an option that cannot be followed is refused with its place', () => {
  const transport = { push: async () => {}, pull: async () => {} }
  for (const [options, path] of [
    [{ name: '' }, '/name'], [{ scope: 7 }, '/scope'], [{ scope: null }, '/scope'], [{ adoptScope: 7 }, '/adoptScope'],
    [{ version: 1.5 }, '/version'], [{ version: -1 }, '/version'], [{ version: 1n }, '/version'],
    [{ storage: 'floppy' }, '/storage'], [{ durability: 'hard' }, '/durability'], [{ maxQueue: 0 }, '/maxQueue'], [{ maxQueue: 2 ** 32 }, '/maxQueue'],
    [{ worker: 'yes' }, '/worker'], [{ logger: 5 }, '/logger'], [{ platform: { now: 5 } }, '/platform/now'], [{ platform: 5 }, '/platform'],
    [{ signal: 'stop' }, '/signal'], [{ collections: [] }, '/collections'], [{ collections: null }, '/collections'],
    [{ collections: { a: null } }, '/collections/a'], [{ collections: { a: 'lww' } }, '/collections/a'],
    [{ collections: { a: { merge: 'newest' } } }, '/collections/a/merge'], [{ collections: { a: { ids: 'sever' } } }, '/collections/a/ids'],
    [{ collections: { a: { singleton: 'yes' } } }, '/collections/a/singleton'], [{ collections: { a: { lazy: 1 } } }, '/collections/a/lazy'],
    [{ collections: { a: { sync: 'no' } } }, '/collections/a/sync'], [{ collections: { a: { title: 1 } } }, '/collections/a/title'],
    [{ collections: { a: { fields: { n: 'count' } } } }, '/collections/a/fields/n'], [{ collections: { a: { fields: [] } } }, '/collections/a/fields'],
    [{ collections: { a: { groups: ['lat', 'lon'] } } }, '/collections/a/groups/0'], [{ collections: { a: { groups: [[1]] } } }, '/collections/a/groups/0/0'],
    [{ collections: { a: { unique: [['n'], 'm'] } } }, '/collections/a/unique/1'], [{ collections: { a: { localFields: 'pin' } } }, '/collections/a/localFields'],
    [{ collections: { a: { references: { flockId: 7 } } } }, '/collections/a/references/flockId'],
    [{ collections: { a: { ordinal: {} } } }, '/collections/a/ordinal/field'], [{ collections: { a: { schema: 'x' } } }, '/collections/a/schema'],
    [{ collections: { a: { onConflict: 'mine' } } }, '/collections/a/onConflict'],
    [{ sync: null }, '/sync'], [{ sync: true }, '/sync'], [{ sync: {} }, '/sync'], [{ sync: { ...sync, transport } }, '/sync'],
    [{ sync: { url: 7 } }, '/sync/url'], [{ sync: { transport: { push: transport.push } } }, '/sync/transport/pull'], [{ sync: { transport: 5 } }, '/sync/transport'],
    [{ sync: { ...sync, getToken: 'abc' } }, '/sync/getToken'], [{ sync: { ...sync, headers: {} } }, '/sync/headers'],
    [{ sync: { ...sync, credentials: 'inlcude' } }, '/sync/credentials'], [{ sync: { ...sync, auto: 'no' } }, '/sync/auto'],
    [{ sync: { ...sync, debounce: -1 } }, '/sync/debounce'], [{ sync: { ...sync, pollInterval: Infinity } }, '/sync/pollInterval'],
    [{ sync: { ...sync, timeout: 1n } }, '/sync/timeout'], [{ sync: { ...sync, timeout: '30' } }, '/sync/timeout'], [{ sync: { ...sync, maxAttempts: 0 } }, '/sync/maxAttempts'],
    [{ sync: { ...sync, batch: 5 } }, '/sync/batch'], [{ sync: { ...sync, batch: { mutations: 0 } } }, '/sync/batch/mutations'],
  ]) assert.deepEqual(refusal(() => declare({ name: 'x', ...options })), refused(path), path)
  for (const options of [undefined, null, 'x', []]) assert.deepEqual(refusal(() => declare(options)), refused(''))
})

test('what is right goes through, as it did', () => {
  const transport = Object.create({ push: async () => {}, pull: async () => {} })
  const declared = { merge: 'fields', singleton: false, ids: 'client', fields: { eggs: 'counter' }, groups: [['lat', 'lon']], references: { flockId: 'flocks' }, ordinal: { field: 'n', parent: 'flockId' }, unique: [['ring'], ['lat', 'lon']], sync: true, localFields: ['pin'], lazy: true, label: 'name', title: 'Flock', schema: { type: 'object' }, onConflict: () => 'mine' }
  const platform = { now: Date.now, random: Math.random, fetch: globalThis.fetch }
  declare({ name: 'x', scope: 'a', adoptScope: '', collections: { flocks: declared, none: undefined }, version: 3, sync: { url: new URL('https://example.org'), getToken: async () => null, headers: () => ({}), credentials: 'include', auto: false, debounce: 0, pollInterval: 0, timeout: 1, batch: { mutations: 1, bytes: 1 }, maxAttempts: 1 }, storage: 'memory', durability: 'strict', maxQueue: 1, worker: () => {}, logger: () => {}, platform, signal: new AbortController().signal })
  declare({ name: 'x', sync: { transport }, encryption: undefined, scope: undefined })
  for (const file of ['src/schemas/egglogu.schema.json']) declare({ name: 'x', ...JSON.parse(readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8')) })
})
