// What the worker said several times before anybody looked, as one. Pure. Not here: changes of rows (`../changes.ts`).

import type { Drained } from '../engine.js'

type Said = Omit<Drained, 'changes'>

export function joined(one: Said, other: Said): Said {
  return {
    became: both(one.became, other.became),
    durable: both(one.durable, other.durable),
    failed: both(one.failed, other.failed),
    settled: both(one.settled, other.settled),
    resent: both(one.resent, other.resent),
    events: both(one.events, other.events),
    status: one.status === true || other.status === true,
    queue: one.queue === true || other.queue === true,
    deadLetters: one.deadLetters === true || other.deadLetters === true,
    conflicts: one.conflicts === true || other.conflicts === true,
  }
}

function both<T>(one: readonly T[] = [], other: readonly T[] = []): readonly T[] {
  if (one.length === 0) return other
  return other.length === 0 ? one : [...one, ...other]
}
