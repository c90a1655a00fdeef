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
  const { db, collections } = opened
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

  // A farm whose last flock is deleted is still a farm, and so is one of which only deletions are left.
  const hasFarm = () => collections.some((name) => db.collection(name).list({ includeDeleted: true, limit: 1 }).length > 0)

  // The welcome gives way to the farm once; there is no way back while the page is open.
  function showEither() {
    if (firstRun.isBusy() || tabs.node.isConnected || !hasFarm()) return
    const hadFocus = main.contains(document.activeElement)
    main.replaceChildren(tabs.node)
    if (hadFocus) tabs.focus()
  }

  db.status.subscribe(showEither)
  main.append(firstRun.node)
  root.replaceChildren(createStatusBar(parts), main)
  showEither()
  // For the console and for the tests.
  window.homing = { db, network }
  document.documentElement.dataset.ready = 'true'
}
