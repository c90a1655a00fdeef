// Lines that are broken to see a test fail (`npm run test:simulation -- --mutants`, `-- --rules`) are where the lists say: moved code
// would be noticed only by the next one who breaks it. Not here: breaking them (`scripts/simulation.mjs`).

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { SERVER } from '../../../scripts/support/mutants-server.mjs'
import { MERGE, NAMED, RULES, STORAGE } from '../../../scripts/support/mutants.mjs'

test('every line that is to be broken is found once in its file, and has a name of its own', () => {
  const all = [...NAMED, ...RULES, ...STORAGE, ...MERGE, ...SERVER]
  const source = (file) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8')
  const lost = all.filter(({ file, find }) => source(file).split(find).length !== 2).map(({ name, file }) => `${name}: ${file}`)
  assert.deepEqual(lost, [])
  assert.equal(new Set(all.map(({ name }) => name)).size, all.length)
})
