// What may be stored: everything accepted comes back exactly, everything else is refused with its place.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules, refusal } from './modules.mjs'

const { encodeRecord, checkedRecord, checkedRecords, checkNewId, idProblem } = modules.validate

const nest = (depth) => JSON.parse('{"a":'.repeat(depth) + '1' + '}'.repeat(depth))
const cyclic = { id: 'a', list: [{}] }
cyclic.list[0].again = cyclic
const shared = Array.from({ length: 40 }).reduce((inner) => ({ left: inner, right: inner }), {})

const REFUSED = [
  ['no object', 7, ''],
  ['null', null, ''],
  ['an array', [], ''],
  ['NaN', { a: { b: [1, NaN] } }, '/a/b/1'],
  ['Infinity', { a: -Infinity }, '/a'],
  ['an integer that JSON readers round', { a: 2 ** 53 }, '/a'],
  ['BigInt', { n: 1n }, '/n'],
  ['a function', { f() {} }, '/f'],
  ['a symbol', { s: Symbol('x') }, '/s'],
  ['a symbol as a name', { o: { [Symbol('x')]: 1 } }, '/o'],
  ['a Date', { at: new Date(0) }, '/at'],
  ['a Map', { m: new Map() }, '/m'],
  ['a Set', { m: new Set() }, '/m'],
  ['a class instance', { m: new (class Hen {})() }, '/m'],
  ['a typed array', { m: new Uint8Array(2) }, '/m'],
  ['an array of another kind', { m: new (class List extends Array {})() }, '/m'],
  ['undefined in an array', { list: [1, undefined] }, '/list/1'],
  ['a hole in an array', { list: [1, , 3] }, '/list/1'],
  ['a cycle', cyclic, undefined],
  ['101 levels', nest(101), undefined],
  ['5,000 levels', nest(5000), undefined],
  ['__proto__', JSON.parse('{"a":{"__proto__":{"isAdmin":true}}}'), '/a/__proto__'],
  ['half a surrogate pair', { 'a/b': ['x', '\ud800'] }, '/a~1b/1'],
  ['half a surrogate pair in a name', { ['\udc00']: 1 }, '/\udc00'],
  ['a getter that throws', { get a() { throw new Error('no') } }, '/a'],
  ['a proxy that throws', { a: new Proxy({}, { ownKeys() { throw new Error('no') } }) }, '/a'],
]

for (const [name, value, path] of REFUSED) {
  test(`${name} is refused`, () => {
    const { code, path: found } = refusal(() => encodeRecord(value))
    assert.equal(code, 'invalid-record')
    if (path !== undefined) assert.equal(found, path)
  })
}

test('what is accepted comes back exactly', () => {
  const record = { id: 'ü', n: [0, -1.5, 0.1, 5e-324, 95.80078171216883, 9007199254740991], s: ['', '\u0000\n"\\', '😀', '\\ud800'], deep: nest(99), constructor: 1, toString: null, empty: [{}, []] }
  assert.deepEqual(JSON.parse(encodeRecord(record)), record)
  assert.deepEqual(JSON.parse(encodeRecord(Object.assign(Object.create(null), { a: 1 }))), { a: 1 })
})

test('members that are undefined are not there', () => {
  assert.equal(encodeRecord({ a: undefined, b: 1 }), '{"b":1}')
})

test('many records are refused with the index', () => {
  assert.deepEqual(refusal(() => checkedRecords([{ a: 1 }, { a: { b: NaN } }])), { code: 'invalid-record', path: '/1/a/b' })
  assert.deepEqual(refusal(() => checkedRecords([{ a: 1 }, 7])), { code: 'invalid-record', path: '/1' })
  assert.deepEqual(refusal(() => checkedRecords('abc')), { code: 'invalid-record', path: '' })
  assert.deepEqual(checkedRecords([{ a: 1 }, { b: 'two\nlines' }]).text, ['{"a":1}', '{"b":"two\\nlines"}'])
})

test('the copy is what JSON would make of the record, in the same order, and shares nothing with it', () => {
  const inner = { list: [{ n: -0 }, [], [[-0, null]]], gone: undefined, nothing: null }
  const bare = Object.assign(Object.create(null), { x: 1 })
  const record = { z: 1, id: 'a', 7: 'seven', gone: undefined, minus: -0, inner, bare, 1: 'one', empty: {}, t: 'é\n', f: 5e-324, list: Object.assign([1], { more: 2 }) }
  const { text, copy } = checkedRecord(record)
  assert.equal(text, JSON.stringify(record))
  assert.deepEqual(copy, JSON.parse(text))
  assert.equal(JSON.stringify(copy), text)
  assert.ok(Object.is(copy.minus, 0) && Object.is(copy.inner.list[0].n, 0) && Object.is(copy.inner.list[2][0][0], 0))
  assert.ok(!('gone' in copy) && !('gone' in copy.inner) && Object.getPrototypeOf(copy.bare) === Object.prototype)
  inner.list[0].n = 9
  record.list.push(2)
  assert.deepEqual(copy, JSON.parse(text))
})

test('a member is read once: what a getter says the second time counts for nothing', () => {
  let read = 0
  const { text, copy } = checkedRecord({ get n() { return ++read } })
  assert.deepEqual([text, copy, read], ['{"n":1}', { n: 1 }, 1])
})

test('references shared so often that no record could hold them end soon', () => {
  assert.equal(refusal(() => encodeRecord({ shared })).code, 'too-large')
})

test('ids', () => {
  for (const id of ['a', 'ü'.repeat(128), '😀']) assert.equal(idProblem(id), null)
  for (const id of ['', 'a'.repeat(129), 'a\u0000', 'a\u0085', '\ud800', 7, null, {}]) assert.deepEqual(refusal(() => checkNewId(id)), { code: 'invalid-id', path: '/id' }, JSON.stringify(id))
  assert.equal(refusal(() => checkNewId('$row_1')).code, 'invalid-id')
})

test('what a page has added to all objects is in no record', (t) => {
  Object.prototype.added = { by: 'the page' }
  t.after(() => { delete Object.prototype.added })
  const { text, copy } = modules.validate.checkedRecord({ id: 'a', n: { m: 1 } })
  assert.deepEqual([text, Object.keys(copy), Object.keys(copy.n)], ['{"id":"a","n":{"m":1}}', ['id', 'n'], ['m']])
})
