// What a conflict is called and what its buttons say. `mine` of a conflict is the version of the device that met it
// (`mineBy`), whoever looks at it; so the words depend on who looks.

import { isDeleted } from './diff.js'

/**
 * @param {any} conflict
 * @param {string} clientId of this device
 * @returns {{ sentence: string, mineTitle: string, theirsTitle: string, choices: readonly { choice: 'mine' | 'theirs', text: string, testid: string }[] }}
 */
export function describeConflict(conflict, clientId) {
  const ours = isOurs(conflict, clientId)
  const name = conflict.label
  const goneMine = isDeleted(conflict.mine)
  const goneTheirs = isDeleted(conflict.theirs)
  const [mineTitle, theirsTitle] = ours ? ['Mine', 'Theirs'] : ['The other device', 'On the server']
  const mine = (text, testid = 'keep-mine') => ({ choice: 'mine', text, testid })
  const theirs = (text, testid = 'accept-theirs') => ({ choice: 'theirs', text, testid })
  if (goneTheirs && !goneMine) {
    return {
      sentence: ours ? `${name} was deleted on another device but you made changes.` : `${name} was deleted, but another device made changes to it.`,
      mineTitle, theirsTitle,
      choices: [mine(ours ? 'Keep mine' : 'Keep the changes'), theirs('Accept deletion', 'accept-deletion')],
    }
  }
  if (goneMine && !goneTheirs) {
    return {
      sentence: ours ? `You deleted ${name}, but it was changed on another device.` : `${name} was changed, but another device deleted it.`,
      mineTitle, theirsTitle,
      choices: [theirs('Keep the changes', 'keep-changes'), mine(ours ? 'Delete it anyway' : 'Accept deletion', 'delete-anyway')],
    }
  }
  return {
    sentence: ours ? `${name} was changed here and on another device.` : `${name} was changed on two devices.`,
    mineTitle, theirsTitle,
    choices: [mine(ours ? 'Keep mine' : "Keep the other device's"), theirs(ours ? 'Keep theirs' : "Keep the server's")],
  }
}

/** Whether this device met the conflict, so that its user should be asked. */
export function isOurs(conflict, clientId) {
  return conflict.mineBy === null || conflict.mineBy === clientId
}

/** Who won an automatic merge, in words. */
export function describeOutcome({ winner, status, policy }) {
  if (status === 'unresolved') return 'Waiting for a decision'
  const by = status === 'resolved' ? 'decided by a user' : `merged by rule (${policy})`
  return { mine: `Mine was kept, ${by}`, theirs: `Theirs was kept, ${by}`, merged: `Both were joined, ${by}` }[winner] ?? by
}
