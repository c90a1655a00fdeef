// The story as a test; every step is a subtest, so a report names the one that broke.

import { test } from 'node:test'
import { startDemo } from '../../scripts/demo.mjs'
import { runStory } from './story.mjs'

test('a farm edited offline in two browsers syncs, and no version is lost', { timeout: 300_000 }, async (t) => {
  const demo = await startDemo()
  try {
    const step = async (name, work) => {
      let failure = null
      // A failed subtest does not throw here; the steps after it would only repeat its complaint.
      await t.test(name, async () => {
        try {
          await work()
        } catch (error) {
          failure = error
          throw error
        }
      })
      if (failure !== null) throw failure
    }
    await runStory({ step, ...demo })
  } finally {
    await demo.close()
  }
})
