// What a run leaves behind: `RESULTS.md`, its picture, and the figures as JSON (`out/results.json`), so that a run of a part can be put
// beside the others.

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatMarkdown } from './markdown.mjs'

const BENCH = import.meta.dirname
const FIGURES = join(BENCH, 'out/results.json')

/** Writes it all, in the order of `order`. With `merge`: workloads that did not run keep what they had. */
export async function writeResults(results, { facts, order, merge }) {
  const { drawChart } = await import('./chart.mjs') // not at the top: `run.mjs` may have to install what it draws with first
  const at = new Date().toISOString()
  const earlier = merge ? JSON.parse(await readFile(FIGURES, 'utf8').catch(() => '[]')) : []
  const dated = results.map((result) => ({ ...result, at, quick: facts.quick, build: facts.build }))
  const all = order.flatMap((name) => [dated, earlier].map((list) => list.find((result) => result.name === name)).find(Boolean) ?? [])
  await mkdir(join(BENCH, 'out'), { recursive: true })
  await writeFile(FIGURES, JSON.stringify(all))
  await writeFile(join(BENCH, 'RESULTS.md'), formatMarkdown(all, facts))
  await writeFile(join(BENCH, 'results.svg'), drawChart(all))
}
