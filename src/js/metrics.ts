// What can be measured, as an object and as the text that Prometheus reads. Not here: counting (the engine).

import type { Engine } from './engine.js'
import type { Metrics } from './types.js'
import { freeze } from './values.js'

type Figures = Omit<Metrics, 'toPrometheus'>

const NONE: Figures = {
  queueDepth: 0, oldestMs: 0, lagMs: { p50: 0, p95: 0 }, conflictRate: 0, failureRate: 0, skewMs: null, requests: 0, failures: 0, attempts: 0, settled: 0,
  bytesSent: 0, bytesReceived: 0, breaker: 'closed', illegalEvents: 0, history: [],
}

/** The numbers now; zeros once the database is closed. */
export function readMetrics(engine: Engine | null, database: string): Metrics {
  const figures = engine === null ? NONE : JSON.parse(engine.metrics()) as Figures
  return Object.freeze({ ...freeze(figures), toPrometheus: () => prometheus(figures, database) })
}

/** Text exposition format 0.0.4: a type line and a value each, times in seconds. */
function prometheus(f: Figures, database: string): string {
  const label = `database="${database.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`
  const lines: string[] = []
  const add = (name: string, type: 'gauge' | 'counter', value: number | null, more = ''): void => {
    if (value === null) return
    const typed = `# TYPE homing_${name} ${type}`
    if (!lines.includes(typed)) lines.push(typed)
    lines.push(`homing_${name}{${label}${more}} ${value}`)
  }
  add('queue_depth', 'gauge', f.queueDepth)
  add('queue_oldest_seconds', 'gauge', f.oldestMs / 1000)
  add('lag_seconds', 'gauge', f.lagMs.p50 / 1000, ',quantile="0.5"')
  add('lag_seconds', 'gauge', f.lagMs.p95 / 1000, ',quantile="0.95"')
  add('conflict_rate', 'gauge', f.conflictRate)
  add('failure_rate', 'gauge', f.failureRate)
  add('clock_skew_seconds', 'gauge', f.skewMs === null ? null : f.skewMs / 1000)
  add('breaker_open', 'gauge', f.breaker === 'closed' ? 0 : 1)
  add('requests_total', 'counter', f.requests)
  add('request_failures_total', 'counter', f.failures)
  add('mutation_attempts_total', 'counter', f.attempts)
  add('mutations_settled_total', 'counter', f.settled)
  add('sent_bytes_total', 'counter', f.bytesSent)
  add('received_bytes_total', 'counter', f.bytesReceived)
  return `${lines.join('\n')}\n`
}
