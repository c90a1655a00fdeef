// The small sign beside a record that says how far its latest change has travelled. Words first: colour only helps.

import { element } from './dom.js'

const STATES = {
  local: ['On this device', 'Kept on this device only'],
  queued: ['Queued', 'Saved on this device, waiting to be sent'],
  syncing: ['Syncing', 'Being sent to the server'],
  synced: ['Synced', 'The server has this version'],
  blocked: ['Waiting', 'Waits for another record to be sent first'],
  conflict: ['Conflict', 'Two devices disagree: see Config'],
  failed: ['Failed', 'The server refused this: see Config'],
}

/** A badge; `show(state)` with a RecordState of Homing. */
export function createBadge() {
  const node = element('span', { class: 'badge', dataset: { testid: 'badge' } })
  return {
    node,
    show(state) {
      if (node.dataset.state === state) return
      const [text, title] = STATES[state] ?? [state, '']
      node.dataset.state = state
      node.title = title
      node.textContent = text
    },
  }
}
