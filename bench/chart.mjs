// The picture of a run: each peer's time as a multiple of hand-written IndexedDB, one line per workload, on a logarithmic axis.

import * as echarts from 'echarts'
import { OPPONENT, PEERS, SUBJECT } from './peers.mjs'

const WIDTH = 860
const ROW = 46
const COLOURS = { homing: '#d1480f', 'hand-written': '#444444', 'local-storage': '#b5b5b5', dexie: '#2a78c8', rxdb: '#8b3fa8', pouchdb: '#1e9a6c', tanstack: '#c79a12' }
const LABELS = {
  bulk: '10,000 records\nin one call', burst: '2,000 un-awaited\nwrites', single: 'one awaited write', drain: 'push of 10,000', 'push-edits': 'push of 20 edits',
  'delta-merge': 'merge a delta\nof 10,000', 'cold-open': 'cold open,\n10,000 records', 'cold-open-50k': 'cold open, 50,000', 'cold-open-100k': 'cold open, 100,000',
}

/** The chart as SVG text. White below it, so that it can be read on a dark page, too. */
export function drawChart(results) {
  const races = results.filter(({ race }) => race)
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: 146 + races.length * ROW })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: 'Time against hand-written IndexedDB (left is faster)', left: 16, top: 10, textStyle: { fontSize: 15, fontWeight: 600 } },
    legend: { top: 38, left: 12, width: WIDTH - 60, itemGap: 28, itemWidth: 12, itemHeight: 12, textStyle: { fontSize: 12 } },
    grid: { left: 150, right: 30, top: 100, bottom: 40 },
    xAxis: { type: 'log', axisLabel: { formatter: (value) => `${value}×` }, splitLine: { lineStyle: { color: '#e4e4e4' } } },
    yAxis: { type: 'category', inverse: true, data: races.map(({ name }) => LABELS[name] ?? name), axisTick: { show: false }, splitLine: { show: true, lineStyle: { color: '#f0f0f0' } } },
    series: PEERS.map((peer) => seriesOf(peer, races)),
  })
  const svg = chart.renderToSVGString()
  chart.dispose() // its clock would keep the process running
  return `${svg}\n`
}

function seriesOf({ name, title }, races) {
  const points = races.flatMap(({ rows }, line) => {
    const row = rows.find(({ peer }) => peer === name)
    const ratio = name === OPPONENT ? 1 : row?.comparison?.ratio
    return row === undefined || ratio === undefined ? [] : [[ratio, line]]
  })
  const ours = name === SUBJECT
  return {
    name: title,
    type: 'scatter',
    data: points,
    symbol: name === OPPONENT ? 'rect' : 'circle',
    symbolSize: name === OPPONENT ? [3, 22] : ours ? 15 : 10,
    itemStyle: { color: COLOURS[name], opacity: 0.9 },
    z: ours ? 3 : 4, // the largest dot lies below the others, so none is hidden
    label: ours ? { show: true, position: 'top', formatter: ({ value }) => `${value[0].toPrecision(2)}×`, color: COLOURS[name], fontSize: 11 } : undefined,
  }
}
