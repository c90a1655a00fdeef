// Build steps: a step is skipped only where the last one went to its end on the same inputs.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { unlessDone } from '../../scripts/support/stamp.mjs'

test('work that was cut short is done again, also where the inputs are as they were before it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'homing-stamp-'))
  const done = []
  const step = (key, work = async () => { done.push(key) }) => unlessDone('step', { inputs: ['package.json'], outputs: ['package.json'], key, work }, join(folder, 'stamps.json'))
  try {
    await step('a')
    await step('a')
    assert.deepEqual(done, ['a'])
    await assert.rejects(step('b', () => Promise.reject(new Error('cut short'))), /cut short/)
    await step('a')
    assert.deepEqual(done, ['a', 'a'])
  } finally {
    await rm(folder, { recursive: true })
  }
})
