// The same as `smooth` with the engine in a dedicated worker: the longest wait of the page, whatever it was for.

import { measureSmoothnessInWorker, prepareSmoothness } from '../smoothness.mjs'

export const about = {
  title: 'the longest wait of the page with the engine in a worker, garbage collection and other processes included',
  unit: 'ms',
  limits: [{ max: 16 }, { figure: 'segments written', min: 1 }],
  rounds: { full: 1, others: 1, quick: 1 },
  peers: ['homing'],
  newProcess: true,
  warmUp: false,
  race: false,
}

export const prepare = prepareSmoothness
export const measure = measureSmoothnessInWorker
