// What an empty device shows: load the farm that the old app kept in localStorage, or fetch it from the server. The import
// leaves the old data where it is, and running it twice adds nothing.

import { element } from './dom.js'
import { explain } from './notices.js'

const KEY = 'egglogu_data'

/**
 * @param {{ db: any, notices: any, loaded: () => void }} parts `loaded` runs when a load ended, well or not
 * @returns {{ node: HTMLElement, isBusy: () => boolean }} busy: rows are arriving, this view still has something to tell
 */
export function createFirstRun({ db, notices, loaded }) {
  const bar = element('progress', { max: '1', value: 0, 'aria-label': 'Loading the farm', dataset: { testid: 'import-progress' } })
  const words = element('p', { role: 'status', dataset: { testid: 'import-status' } })
  const progress = element('div', { class: 'import-progress', hidden: true }, bar, words)
  const load = element('button', { type: 'button', dataset: { testid: 'load-farm' }, onclick: () => run(loadFarm) }, 'Load the farm')
  const fetchAll = element('button', { type: 'button', class: 'quiet', dataset: { testid: 'fetch-farm' }, onclick: () => run(fetchFarm) }, 'Get it from the server')

  function show({ phase, done, total }) {
    if (total) {
      bar.max = total
      bar.value = done
    } else bar.removeAttribute('value')
    const what = phase.charAt(0).toUpperCase() + phase.slice(1)
    words.textContent = total ? `${what}: ${done.toLocaleString()} of ${total.toLocaleString()}` : `${what}…`
  }

  let busy = false
  async function run(work) {
    // A button that is disabled loses the focus.
    if (busy) return
    busy = true
    for (const button of [load, fetchAll]) button.setAttribute('aria-disabled', 'true')
    progress.hidden = false
    show({ phase: 'Starting' })
    try {
      await work()
    } catch (error) {
      words.textContent = ''
      notices.say(explain(error), { alarm: true })
    }
    progress.hidden = true
    for (const button of [load, fetchAll]) button.removeAttribute('aria-disabled')
    busy = false
    loaded()
  }

  async function loadFarm() {
    if (localStorage.getItem(KEY) === null) {
      show({ phase: 'Fetching the farm document' })
      const response = await fetch('./farm.json')
      if (!response.ok) throw new Error(`The demo server has no farm.json (HTTP ${response.status}).`)
      localStorage.setItem(KEY, JSON.stringify(await response.json()))
    }
    const report = await db.importLocalStorage({ key: KEY, onProgress: show })
    const rows = Object.values(report.collections).reduce((sum, one) => sum + one.inserted, 0)
    notices.say(`The farm is on this device: ${rows.toLocaleString()} records.`)
  }

  async function fetchFarm() {
    await db.sync({ onProgress: show })
    if (db.collection('flocks').count() === 0) notices.say('The server has no farm yet. Load it on one device first.')
  }

  const node = element('section', { class: 'card first-run', dataset: { testid: 'first-run' } },
    element('h2', {}, 'Welcome to the farm'),
    element('p', {}, 'This device has no farm yet. Load the farm document that the old app kept, or get the farm that another device has already sent to the server.'),
    element('div', { class: 'buttons' }, load, fetchAll), progress)
  return { node, isBusy: () => busy }
}
