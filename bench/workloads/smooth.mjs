// How long the page stands still with 100,000 records: the longest task of the main thread while opening, while 10,000 more are
// written in one call, and while 4,500 awaited single writes fill the journal until it is compacted (`../smoothness.mjs`).

import { measureSmoothness, prepareSmoothness } from '../smoothness.mjs'

export const about = {
  title: 'longest task of the main thread with 100,000 records: open, 10,000 in one call, compaction (0: none over 50 ms)',
  unit: 'ms',
  limits: [{ max: 50 }, { figure: 'segments written', min: 1 }],
  rounds: { full: 1, others: 1, quick: 1 },
  peers: ['homing', 'hand-written'],
  newProcess: true,
  warmUp: false,
  race: false,
}

export const prepare = prepareSmoothness
export const measure = measureSmoothness
