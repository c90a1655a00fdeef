// `npm run server`: what it adds to what was said.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { commandLine } from '../../scripts/server.mjs'

const flags = (given, env = {}) => commandLine(given, env).filter((arg) => arg.startsWith('--'))

test('defaults are for what nobody said, by argument or by variable', () => {
  assert.deepEqual(commandLine([], {})[0], 'serve')
  assert.deepEqual(flags([]), ['--listen', '--database', '--schema'])
  assert.deepEqual(flags(['--database=farm.db', '--listen', '127.0.0.1:1']), ['--database=farm.db', '--listen', '--schema'])
  assert.deepEqual(flags([], { HOMING_DATABASE: 'postgres://127.0.0.1/farm' }), ['--listen', '--schema'])
  assert.deepEqual(flags([], { HOMING_DATABASE: '' }), ['--listen', '--database', '--schema'])
  assert.deepEqual(commandLine(['token', '--scope', 'farm-1'], {}), ['token', '--scope', 'farm-1'])
})
