// The same as `smooth` on a processor a quarter as fast.

import { measureSmoothness, prepareSmoothness } from '../smoothness.mjs'

export const about = {
  title: 'the same at 4× CPU throttling',
  unit: 'ms',
  limits: [{ max: 50 }, { figure: 'segments written', min: 1 }],
  rounds: { full: 1, others: 1, quick: 1 },
  peers: ['homing', 'hand-written'],
  newProcess: true,
  throttle: 4,
  warmUp: false,
  race: false,
}

export const prepare = prepareSmoothness
export const measure = measureSmoothness
