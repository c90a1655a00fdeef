// The public types: tests/types compiles, where each wrong use is marked and must be an error. No `any` in what is published.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const read = (path) => readFileSync(`${ROOT}${path}`, 'utf8')

test('right uses compile and wrong ones do not', () => {
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tests/types'], { cwd: ROOT, encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})

test('an app compiles against what is published, libraries checked, with the JSON file that it shares with the server', () => {
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tests/types/consumer'], { cwd: ROOT, encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})

test('the codes are those of the engine, and "aborted", which only the shell knows', () => {
  const rust = read('src/core/error.rs').match(/=> "([a-z-]+)",/g).map((line) => line.slice(4, -2))
  const union = read('src/js/errors.ts').match(/export type ErrorCode =([^]*?)\n\n/)[1]
  const words = union.match(/'([a-z-]+)'/g).map((word) => word.slice(1, -1))
  assert.deepEqual(words.filter((word) => word !== 'aborted').sort(), rust.sort())
})
