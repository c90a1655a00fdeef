// The same as `cold-open` with 100,000 records, on those that write them within the bench's time.

import { coldOpen } from '../cold.mjs'

export const about = {
  title: 'cold open in a new browser process until 100,000 records are read',
  unit: 'ms',
  limits: [{ figure: 'open ms', max: 1_500 }],
  rounds: { full: 3, others: 1, quick: 1 },
  newProcess: true,
  warmUp: false,
  peers: ['homing', 'hand-written', 'dexie'],
}

export const { prepare, measure } = coldOpen(100_000)
