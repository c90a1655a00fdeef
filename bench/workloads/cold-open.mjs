// A new browser process on a profile that holds 10,000 records: from `open` until every one is read as an object (`../cold.mjs`).

import { coldOpen } from '../cold.mjs'

export const about = {
  title: 'cold open in a new browser process until 10,000 records are read',
  unit: 'ms',
  limits: [{ ratio: 0.30 }],
  rounds: { full: 7, others: 2, quick: 3 },
  newProcess: true,
}

export const { prepare, measure } = coldOpen(10_000)
