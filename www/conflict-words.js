// What a conflict is called and what its buttons say. `mine` of a conflict is the version of the device that met it
// (`mineBy`), whoever looks at it; so the words depend on who looks.

import { isDeleted } from './diff.js'

/**
 * @param {any} conflict
 * @param {string} clientId of this device
 * @returns {{ sentence: string, left: { title: string, version: any }, right: { title: string, version: any }, choices: readonly { choice: 'mine' | 'theirs', text: string, testid: string }[] }}
 *   `left` and `right`: the versions to show side by side, this device's own first
 */
export function describeConflict(conflict, clientId) {
  const titles = titlesOf(conflict, clientId)
  const own = ownSide(conflict, clientId)
  const [left, right] = (own === 'theirs' ? ['theirs', 'mine'] : ['mine', 'theirs']).map((side) => ({ title: titles[side], version: conflict[side] }))
  return { left, right, ...questionOf(conflict, own, titles) }
}

function questionOf(conflict, own, titles) {
  const name = conflict.label
  const gone = { mine: isDeleted(conflict.mine), theirs: isDeleted(conflict.theirs) }
  if (gone.mine === gone.theirs) {
    return {
      sentence: own ? `${name} was changed here and on another device.` : `${name} was changed on two devices.`,
      choices: [
        { choice: 'mine', text: `Keep ${titles.mine.toLowerCase()}`, testid: 'keep-mine' },
        { choice: 'theirs', text: `Keep ${titles.theirs.toLowerCase()}`, testid: 'keep-theirs' },
      ],
    }
  }
  const [living, deleted] = gone.mine ? ['theirs', 'mine'] : ['mine', 'theirs']
  if (own === living) {
    return {
      sentence: `${name} was deleted on another device but you made changes.`,
      choices: [{ choice: living, text: 'Keep mine', testid: 'keep-mine' }, { choice: deleted, text: 'Accept deletion', testid: 'accept-deletion' }],
    }
  }
  return {
    sentence: own === deleted ? `You deleted ${name}, but another device made changes to it.` : `${name} was deleted on one device and changed on another.`,
    choices: [
      { choice: living, text: 'Keep the changes', testid: 'keep-changes' },
      { choice: deleted, text: own === deleted ? 'Delete it anyway' : 'Accept deletion', testid: 'accept-deletion' },
    ],
  }
}

/** Whether this device met the conflict, so that its user should be asked unasked. */
export function isOurs(conflict, clientId) {
  return conflict.mineBy === null || conflict.mineBy === clientId
}

const RULES = {
  lww: 'the later change wins',
  fww: 'the first change wins',
  fields: 'the later change of each field wins',
  'append-only': 'entries are never changed',
  'server-wins': 'what the server has wins',
  'client-wins': 'who syncs last wins',
}

/** Who won a merge and who decided it, in words. */
export function describeOutcome(conflict, clientId) {
  const by = conflict.status === 'resolved' ? 'decided by a user' : RULES[conflict.policy] ?? `by rule (${conflict.policy})`
  const titles = titlesOf(conflict, clientId)
  return conflict.winner === 'merged' ? `Both were joined, ${by}` : `${titles[conflict.winner]} was kept, ${by}`
}

// Which of the two versions was made on this device, if any.
function ownSide(conflict, clientId) {
  if (isOurs(conflict, clientId)) return 'mine'
  return conflict.theirsBy === clientId ? 'theirs' : null
}

function titlesOf(conflict, clientId) {
  const own = ownSide(conflict, clientId)
  if (own === null) return { mine: 'One device', theirs: 'Another device' }
  return own === 'mine' ? { mine: 'Mine', theirs: 'Theirs' } : { mine: 'Theirs', theirs: 'Mine' }
}
