// What a server must do so that no device loses, doubles or misses anything. Each case is a promise and a story that breaks
// where it is not kept. Not here: how the server is asked (`client.mjs`), what every answer must be (`answers.mjs`), how it is told
// (`cli.mjs`).

import { ACCESS } from './access.mjs'
import { DECLARED } from './declared.mjs'
import { DELIVERY } from './delivery.mjs'
import { ONCE } from './once.mjs'
import { TOGETHER } from './together.mjs'
import { VERDICTS } from './verdicts.mjs'

/**
 * `needs`: asked only where the server has the collections of `declared.mjs` (`declared`), or a token of another scope is given (`other-token`).
 *
 * @typedef {{ name: string, promise: string, needs?: 'declared' | 'other-token', story: (run: import('./client.mjs').Run, vectors: import('./declared.mjs').Vectors) => Promise<void> }} Case
 */

/** @type {readonly Case[]} */
export const CASES = [...ONCE, ...DELIVERY, ...VERDICTS, ...TOGETHER, ...ACCESS, ...DECLARED]
