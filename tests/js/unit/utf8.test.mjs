// Texts become the bytes that `TextEncoder` makes of them, whatever they hold.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './modules.mjs'

const { toBytes } = modules.utf8

test('bytes are those of TextEncoder, with few and with many characters of several bytes', () => {
  for (const text of ['', 'hen', 'gallina ponedora, piñón', '鶏'.repeat(100), 'a'.repeat(50) + '🐔'.repeat(40), 'x'.repeat(1000) + 'ñ'.repeat(142), 'x'.repeat(100) + '\ud800', 'é'.repeat(17), 'x'.repeat(5461), 'x'.repeat(5462), '鶏'.repeat(5461), '鶏'.repeat(5462), 'x'.repeat(20_000) + 'ñ'.repeat(900), 'é'.repeat(9_000)]) {
    assert.deepEqual([...toBytes([text])], [...new TextEncoder().encode(text)], text.slice(0, 20))
  }
})

test('lines become one text, however long they are and however many', () => {
  const long = ['x'.repeat(9_000), '', 'é'.repeat(30), '鶏'.repeat(2_000), 'y'.repeat(8_191), 'z']
  for (const lines of [[], [''], ['', ''], ['a', 'b'], long, [...long].reverse(), [...long, ''], Array.from({ length: 3_000 }, (_, n) => `🐔${n}`), Array.from({ length: 20_000 }, (_, n) => `line ${n}`)]) {
    assert.ok(Buffer.from(toBytes(lines)).equals(Buffer.from(lines.join('\n'))), String(lines.length))
  }
})
