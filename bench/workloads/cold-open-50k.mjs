// The same as `cold-open` with 50,000 records.

import { coldOpen } from '../cold.mjs'

export const about = {
  title: 'cold open in a new browser process until 50,000 records are read',
  unit: 'ms',
  limits: [],
  rounds: { full: 3, others: 1, quick: 1 },
  newProcess: true,
  warmUp: false,
}

export const { prepare, measure } = coldOpen(50_000)
