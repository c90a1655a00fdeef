// One device: opens its database and puts the views together. `index.html?device=a|b` ends here.

import { createArchive, createConflictCount } from './archive.js'
import { createAuditLog } from './audit-log.js'
import { createConflictDialog } from './conflict-dialog.js'
import { openFarm } from './database.js'
import { createDeadLetters } from './dead-letters.js'
import { element } from './dom.js'
import { createFirstRun } from './first-run.js'
import { createFlocks } from './flocks.js'
import { createNetwork } from './network.js'
import { createNotices, explain } from './notices.js'
import { createProduction } from './production.js'
import { createSettings } from './settings.js'
import { createStatusBar } from './status-bar.js'
import { createTabs } from './tabs.js'

/**
 * Shows one device.
 *
 * @param {{ root: HTMLElement, device: { id: string, title: string }, pollInterval?: number }} options pollInterval in ms
 */
export async function startDevice({ root, device, pollInterval }) {
  document.title = `${device.title}: the farm`
  const network = createNetwork(device.id)
  const notices = createNotices(document.body)
  let opened
  try {
    opened = await openFarm({ device: device.id, network, pollInterval })
  } catch (error) {
    root.replaceChildren(element('section', { class: 'card', role: 'alert', dataset: { testid: 'open-failed' } },
      element('h1', {}, 'The farm could not be opened'), element('p', {}, explain(error))))
    throw error
  }
  const { db, config } = opened
  const parts = { db, device, network, notices }
  const dialog = createConflictDialog({ ...parts, root: document.body })
  const config$ = element('div', {},
    element('h2', {}, 'Config'), createSettings(parts), createArchive({ ...parts, dialog }), createDeadLetters(parts))
  const tabs = createTabs([
    { id: 'flocks', title: 'Flocks', panel: createFlocks(parts) },
    { id: 'production', title: 'Production', panel: createProduction(parts) },
    { id: 'audit', title: 'Audit log', panel: createAuditLog(parts) },
    { id: 'config', title: 'Config', panel: config$, mark: createConflictCount(parts) },
  ])
  const firstRun = createFirstRun({ ...parts, loaded: showEither })
  const main = element('main', { id: 'main' })

  // Between the welcome and the farm there is only one question: is there a flock (or was there ever a sync)?
  function showEither() {
    if (firstRun.isBusy()) return
    const view = db.collection('flocks').count() > 0 ? tabs.node : firstRun.node
    if (main.firstElementChild === view) return
    const hadFocus = main.contains(document.activeElement)
    main.replaceChildren(view)
    if (hadFocus && view === tabs.node) tabs.focus()
  }

  db.collection('flocks').subscribe(showEither)
  showEither()
  root.replaceChildren(createStatusBar(parts), main)
  // For the console and for the tests.
  window.homing = { db, network, config }
  document.documentElement.dataset.ready = 'true'
}
