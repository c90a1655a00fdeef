// `bench/RESULTS.md`: who is how fast at a glance, then every figure.

import { cpus, totalmem } from 'node:os'
import { OPPONENT, PEERS, SUBJECT } from './peers.mjs'
import { HEAD, cells, round, summarizeOpening, summarizeRaces } from './report.mjs'

const line = (items) => `| ${items.join(' | ')} |`

/** The whole file. */
export function formatMarkdown(results, { browser, versions }) {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  const days = results.map(({ at }) => at.slice(0, 10))
  const quick = results.filter((result) => result.quick).map(({ name }) => name)
  const builds = [...new Set(results.map(({ build }) => build))]
  const over = results.flatMap(({ failures }) => failures)
  return [
    '# Benchmark results',
    '',
    `Written by \`npm run bench\` on ${[...new Set(days)].join(', ')}: ${browser}, Node ${process.versions.node}, ${cpus().length} × ${model},`
      + ` ${Math.round(totalmem() / 2 ** 30)} GB; \`homing.wasm\` ${builds.join(', ')}.${quick.length > 0 ? ` With fewer rounds (\`--quick\`): ${quick.join(', ')}.` : ''}`,
    '',
    [`Homing is ${summarizeRaces(results)}.`, ...summarizeOpening(results)].join(' '),
    '',
    '![Time of each peer as a multiple of hand-written IndexedDB](results.svg)',
    '',
    '## At a glance',
    '',
    `Medians, and in brackets how many times as long as \`${OPPONENT}\` in the same run. \`local-storage\` is shown, not counted: what it says is`,
    'stored is in memory, and it writes and sends everything each time.',
    '',
    ...glance(results, versions),
    '',
    '## Limits',
    '',
    over.length === 0 ? 'All are kept.' : 'Not kept:',
    ...(over.length === 0 ? [] : ['', ...over.map((text) => `- ${text}`)]),
    '',
    '## Every figure',
    '',
    'Within a workload all sides take turns (A B C, C B A, …) in one run, the first round is dropped, every database is new, and what is written is read',
    'back through a new connection, or from the server, and compared. Peers without a limit take part in the first rounds only, and are compared',
    'over those. Workloads may be of several runs of that day (`--merge`). Ratios hold',
    'across machines, times do not. "Ratio by round" is the spread of the quotients of neighbouring measurements.',
    '',
    line(HEAD),
    line(HEAD.map(() => '---')),
    ...results.flatMap((result) => result.rows.map((row) => line(cells(result, row)))),
    '',
    ...results.map(({ name, title, opponent }) => `- **${name}**: ${title}${opponent === OPPONENT ? '' : `; ratio to \`${opponent}\``}.`),
    '',
    '## Peers',
    '',
    ...PEERS.map(({ name, title, lacks = {} }) => `- **${name}**: ${title}${versions[name] === undefined ? '' : ` ${versions[name]}`}${reasons(lacks)}`),
    '',
  ].join('\n')
}

function reasons(lacks) {
  const why = new Map()
  for (const [workload, reason] of Object.entries(lacks)) why.set(reason, [...why.get(reason) ?? [], workload])
  return [...why].map(([reason, workloads]) => `; not in ${workloads.join(', ')}: ${reason}`).join('')
}

/** One line per workload, one column per peer. */
function glance(results) {
  const names = PEERS.map(({ name }) => name)
  const rows = results.map((result) => line([result.name, ...names.map((name) => cell(result, name))]))
  return [line(['', ...names]), line(['---', ...names.map(() => '---:')]), ...rows]
}

function cell(result, name) {
  const row = result.rows.find(({ peer }) => peer === name)
  if (row === undefined) return '–'
  const ratio = row.comparison && result.opponent === OPPONENT ? ` (${round(row.comparison.ratio)}×)` : ''
  const text = `${round(row.median)} ${row.unit}${ratio}`
  return name === SUBJECT ? `**${text}**` : text
}
