// What the demo says about a conflict depends on who looks; the sentence of the dialog is the one that users were promised.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeConflict, describeOutcome, isOurs } from '../../www/conflict-words.js'
import { compareVersions, isDeleted } from '../../www/diff.js'

const EDITED = { id: 'f', name: 'Layer Group 3', count: 5, _updatedAt: '2026-01-01T00:00:00.000Z' }
const TOMBSTONE = { ...EDITED, _deletedAt: '2026-01-02T00:00:00.000Z' }
const conflict = (more) => ({ label: "Flock 'Layer Group 3'", mine: EDITED, theirs: TOMBSTONE, mineBy: 'edits', theirsBy: 'deletes', winner: 'mine', status: 'automatic', policy: 'lww', ...more })
const choicesOf = (description) => Object.fromEntries(description.choices.map(({ choice, text }) => [text, choice]))

test('who edited is asked with the promised words', () => {
  const asked = describeConflict(conflict(), 'edits')
  assert.equal(asked.sentence, "Flock 'Layer Group 3' was deleted on another device but you made changes.")
  assert.deepEqual(choicesOf(asked), { 'Keep mine': 'mine', 'Accept deletion': 'theirs' })
})

test('who deleted, or neither, is told what happened', () => {
  const deleter = describeConflict(conflict(), 'deletes')
  assert.equal(deleter.sentence, "You deleted Flock 'Layer Group 3', but another device made changes to it.")
  assert.deepEqual(choicesOf(deleter), { 'Keep the changes': 'mine', 'Delete it anyway': 'theirs' })
  const third = describeConflict(conflict(), 'third')
  assert.equal(third.sentence, "Flock 'Layer Group 3' was deleted on one device and changed on another.")
  assert.deepEqual(choicesOf(third), { 'Keep the changes': 'mine', 'Accept deletion': 'theirs' })
  assert.deepEqual([third.left.title, third.right.title], ['One device', 'Another device'])
  assert.deepEqual([deleter.left, deleter.right], [{ title: 'Mine', version: TOMBSTONE }, { title: 'Theirs', version: EDITED }], 'the own version stands first')
})

test('the other way round: the deletion came second', () => {
  const late = conflict({ mine: TOMBSTONE, theirs: EDITED, mineBy: 'deletes', theirsBy: 'edits' })
  assert.deepEqual(choicesOf(describeConflict(late, 'deletes')), { 'Keep the changes': 'theirs', 'Delete it anyway': 'mine' })
  assert.deepEqual(choicesOf(describeConflict(late, 'edits')), { 'Keep mine': 'theirs', 'Accept deletion': 'mine' })
  assert.equal(isOurs(late, 'deletes'), true)
  assert.equal(isOurs(late, 'edits'), false)
})

test('a record that is on no server counts as deleted', () => {
  assert.equal(isDeleted(null), true)
  assert.equal(describeConflict(conflict({ theirs: null }), 'edits').sentence, "Flock 'Layer Group 3' was deleted on another device but you made changes.")
})

test('two edits: both versions may be kept, and the archive says whose stood', () => {
  const both = conflict({ theirs: { ...EDITED, count: 6 }, winner: 'theirs' })
  assert.deepEqual(choicesOf(describeConflict(both, 'edits')), { 'Keep mine': 'mine', 'Keep theirs': 'theirs' })
  assert.equal(describeOutcome(both, 'edits'), 'Theirs was kept, the later change wins')
  assert.equal(describeOutcome(both, 'deletes'), 'Mine was kept, the later change wins')
  assert.equal(describeOutcome({ ...both, winner: 'merged', status: 'resolved' }, 'edits'), 'Both were joined, decided by a user')
})

test('versions are compared by value; what Homing keeps for itself is left out', () => {
  const mine = { ...EDITED, houses: [{ a: 1, b: 2 }], gone: null, _rev: 4 }
  const theirs = { ...EDITED, houses: [{ b: 2, a: 1 }], count: 6, _updatedAt: '2026-02-02T00:00:00.000Z', _rev: 5 }
  assert.deepEqual(compareVersions(mine, theirs), { changed: ['count', 'gone'], same: ['name', 'houses'] })
})
