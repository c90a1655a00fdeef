// What the figures say: one row per workload and peer, a verdict per limit, as text for a terminal and as Markdown.

import { cpus, totalmem } from 'node:os'
import { compare, quantile, summarize } from './statistics.mjs'

/**
 * Turns one workload's samples into rows and failures.
 *
 * `samples` maps each peer's name to its samples (`{ value, info }`) in the order of the rounds. Ratios are against
 * `opponent`; only `subject` has limits.
 */
export function judge({ name, about, samples, subject, opponent }) {
  const failures = []
  const values = (peer) => samples.get(peer).map((sample) => sample.value)
  const rows = [...samples.keys()].map((peer) => {
    const row = { peer, unit: about.unit, ...summarize(values(peer)), info: medians(samples.get(peer)) }
    if (peer !== opponent && samples.has(opponent)) row.comparison = compare(values(peer), values(opponent))
    if (peer === subject) {
      const { ratio, value } = about.limit
      const measured = ratio === undefined ? row.median : row.comparison?.ratio
      row.limit = ratio === undefined ? `≤ ${value} ${about.unit}` : `≤ ${ratio.toFixed(2)}`
      row.passed = measured !== undefined && measured <= (ratio ?? value)
      if (!row.passed) failures.push(`${name}: ${round(measured)} is over the limit of ${row.limit}`)
    }
    return row
  })
  return { name, about, rows, failures }
}

function medians(samples) {
  const keys = Object.keys(samples[0]?.info ?? {})
  return Object.fromEntries(keys.map((key) => [key, quantile(samples.map((sample) => sample.info[key]), 0.5)]))
}

/** Three significant digits below 100, none after the point above. */
function round(value) {
  if (value === undefined || Number.isNaN(value)) return '–'
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

function cells({ name }, row) {
  return [
    name,
    row.peer,
    `${round(row.median)} ${row.unit}`,
    `${round(row.min)} – ${round(row.max)}`,
    String(row.count),
    row.comparison ? row.comparison.ratio.toFixed(3) : '',
    row.comparison ? `${row.comparison.min.toFixed(3)} – ${row.comparison.max.toFixed(3)}` : '',
    row.limit ?? '',
    row.passed === undefined ? '' : row.passed ? 'ok' : 'OVER',
    Object.entries(row.info).map(([key, value]) => `${key} ${round(value)}`).join(', '),
  ]
}

const HEAD = ['workload', 'peer', 'median', 'min – max', 'rounds', 'ratio', 'ratio by round', 'limit', '', 'also']

/** The table for a terminal. */
export function formatText(results) {
  const table = [HEAD, ...results.flatMap((result) => result.rows.map((row) => cells(result, row)))]
  const widths = HEAD.map((_, column) => Math.max(...table.map((line) => line[column].length)))
  return table.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd()).join('\n')
}

/** `bench/RESULTS.md`. */
export function formatMarkdown(results, { quick, version, opponent }) {
  const line = (items) => `| ${items.join(' | ')} |`
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  return [
    '# Benchmark results',
    '',
    `Written by \`npm run bench${quick ? ' -- --quick' : ''}\` on ${new Date().toISOString().slice(0, 10)}: ${version}, Node ${process.versions.node},`
      + ` ${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GB.`,
    '',
    `Ratios are against \`${opponent}\` in the same run; both sides take turns (A B, B A, …), the first round is dropped, every`,
    'database is new, and everything written is read back through a new connection and compared. Ratios hold across',
    'machines, times do not. "Ratio by round" is the spread of the quotients of neighbouring measurements.',
    '',
    line(HEAD),
    line(HEAD.map(() => '---')),
    ...results.flatMap((result) => result.rows.map((row) => line(cells(result, row)))),
    '',
    ...results.map(({ name, about }) => `- **${name}**: ${about.title}.`),
    '',
  ].join('\n')
}
