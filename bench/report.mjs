// What the figures say: one row per workload and peer, a verdict per limit, who is ahead; as text for a terminal. Markdown: `markdown.mjs`.

import { compare, quantile, summarize } from './statistics.mjs'

/**
 * Turns one workload's samples into rows and failures.
 *
 * `samples` maps each peer's name to its samples (`{ value, info }`) in the order of the rounds. Ratios are against
 * `opponent`; only `subject` has limits, and has to be ahead of `rivals` where the workload is a race.
 */
export function judge({ name, about, samples, subject, opponent, rivals }) {
  const values = (peer) => samples.get(peer).map((sample) => sample.value)
  const rows = [...samples.keys()].map((peer) => {
    const row = { peer, unit: about.unit, ...summarize(values(peer)), info: medians(samples.get(peer)) }
    if (peer !== opponent && samples.has(opponent)) row.comparison = compare(values(peer), values(opponent))
    return row
  })
  const rowOf = (peer) => rows.find((row) => row.peer === peer)
  const ours = rowOf(subject)
  const limits = ours === undefined ? [] : about.limits.flatMap((limit) => check(limit, ours, rowOf(opponent)))
  const against = (rival) => compare(values(subject), values(rival)).ratio
  const behind = ours === undefined || about.race === false ? [] : rivals.filter((rival) => samples.has(rival) && !(against(rival) < 1))
  const failures = [
    ...limits.filter(({ passed }) => !passed).map(({ what, measured, allowed }) => `${name}: ${what} ${round(measured)} is not ${allowed}`),
    ...behind.map((rival) => `${name}: ${rival} is ahead, ${subject} takes ${round(against(rival))} times as long in the rounds of both`),
  ]
  return { name, title: about.title, unit: about.unit, race: about.race ?? true, opponent, rows, limits, behind, failures }
}

/**
 * One limit: on the median or another `figure`, absolute (`max`, or `min` for what has to have happened), or as a share of the opponent's
 * median (`ratio`). None without opponent.
 */
function check({ figure, ratio, max, min }, ours, theirs) {
  const value = figure === undefined ? ours.median : ours.info[figure]
  if (max !== undefined) return [{ what: figure ?? 'median', measured: value, allowed: `≤ ${max}`, passed: value <= max }]
  if (min !== undefined) return [{ what: figure ?? 'median', measured: value, allowed: `≥ ${min}`, passed: value >= min }]
  if (theirs === undefined) return []
  const measured = value / theirs.median
  return [{ what: `${figure ?? 'median'} / ${theirs.peer}`, measured, allowed: `≤ ${ratio}`, passed: measured <= ratio }]
}

function medians(samples) {
  const keys = Object.keys(samples[0]?.info ?? {})
  return Object.fromEntries(keys.map((key) => [key, quantile(samples.map((sample) => sample.info[key]), 0.5)]))
}

/** Three significant digits below 100, none after the point above. */
export function round(value) {
  if (value === undefined || Number.isNaN(value)) return '–'
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

export const HEAD = ['workload', 'peer', 'median', 'min – max', 'rounds', 'ratio', 'ratio by round', 'limit', 'also']

/** One row of the table; limits stand beside the subject, which is the row they were checked on. */
export function cells(result, row, subject = 'homing') {
  const verdicts = row.peer === subject ? result.limits.map(({ what, measured, allowed, passed }) => `${what} ${round(measured)} ${allowed} ${passed ? 'ok' : 'OVER'}`) : []
  return [
    result.name,
    row.peer,
    `${round(row.median)} ${row.unit}`,
    `${round(row.min)} – ${round(row.max)}`,
    String(row.count),
    row.comparison ? row.comparison.ratio.toFixed(3) : '',
    row.comparison ? `${row.comparison.min.toFixed(3)} – ${row.comparison.max.toFixed(3)}` : '',
    verdicts.join('; '),
    Object.entries(row.info).map(([key, value]) => `${key} ${round(value)}`).join(', '),
  ]
}

/** In how many races nobody is ahead of the subject, in words. */
export function summarizeRaces(results) {
  const races = results.filter(({ race }) => race)
  const lost = races.filter(({ behind }) => behind.length > 0)
  const exceptions = lost.map(({ name, behind }) => `${name} (${behind.join(', ')})`).join('; ')
  return `ahead of every durable peer in ${races.length - lost.length} of ${races.length} workloads${lost.length > 0 ? `; not in ${exceptions}` : ''}`
}

/** What opening costs per record in the largest database by what it costs in the smallest, in words; nothing when one was not measured. */
export function summarizeOpening(results, subject = 'homing') {
  const perRecord = (name, records) => results.find((result) => result.name === name)?.rows.find(({ peer }) => peer === subject)?.median / records
  const growth = perRecord('cold-open-100k', 100_000) / perRecord('cold-open', 10_000)
  return Number.isNaN(growth) ? [] : [`Cold open costs ${round(growth)} times as much per record at 100,000 as at 10,000.`]
}

/** The table for a terminal. */
export function formatText(results) {
  const table = [HEAD, ...results.flatMap((result) => result.rows.map((row) => cells(result, row)))]
  const widths = HEAD.map((_, column) => Math.max(...table.map((line) => line[column].length)))
  const lines = table.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd())
  return results.length > 1 ? [...lines, '', summarizeRaces(results), ...summarizeOpening(results)].join('\n') : lines.join('\n')
}
