// The head of the page: is this device connected, what waits to be sent, when did it last speak to the server, how safe is
// its storage. It shows what `db.status` says and decides nothing.

import { element, formatTime } from './dom.js'

const STATES = {
  offline: 'Offline',
  idle: 'Up to date',
  pushing: 'Sending changes…',
  pulling: 'Getting changes…',
  applying: 'Taking in changes…',
  backoff: 'Server out of reach, will try again',
  'breaker-open': 'Server in trouble, waiting',
  'auth-required': 'Sign-in needed: reload this page',
  forbidden: 'The server refuses this device',
  incompatible: 'The server speaks another version',
  paused: 'Paused',
  closed: 'Closed',
}

/**
 * @param {{ db: any, device: { title: string }, network: any, notices: any }} parts
 * @returns {HTMLElement}
 */
export function createStatusBar({ db, device, network, notices }) {
  const state = element('strong', { dataset: { testid: 'sync-state' } })
  const pending = element('span', { dataset: { testid: 'pending' } })
  const synced = element('span', { dataset: { testid: 'last-synced' } })
  const storage = element('span', { dataset: { testid: 'storage' } })
  const failed = element('span', { class: 'alarm-text', dataset: { testid: 'failed-count' } })
  const online = element('input', {
    type: 'checkbox', role: 'switch', id: 'online-switch', checked: network.online, dataset: { testid: 'online-switch' },
    onchange: () => network.setOnline(online.checked),
  })
  const onlineText = element('span', {})
  const syncNow = element('button', { type: 'button', dataset: { testid: 'sync-now' }, onclick: sync }, 'Sync now')
  const live = element('p', { class: 'visually-hidden', role: 'status', 'aria-live': 'polite' })

  async function sync() {
    // A button that is disabled loses the focus.
    if (syncNow.hasAttribute('aria-disabled')) return
    syncNow.setAttribute('aria-disabled', 'true')
    const done = await notices.watch(db.sync())
    syncNow.removeAttribute('aria-disabled')
    if (done) notices.say('Synced with the server.')
  }

  let announced = ''
  function show() {
    const status = db.status.getSnapshot()
    const waiting = status.pending
    const idleText = waiting > 0 ? 'Changes waiting' : status.everSynced ? STATES.idle : 'Not synced yet'
    const text = !network.online ? STATES.offline : status.state === 'idle' ? idleText : STATES[status.state] ?? status.state
    state.textContent = text
    state.dataset.state = status.state
    pending.textContent = waiting === 0 ? 'Nothing waiting' : waiting === 1 ? '1 change waiting' : `${waiting.toLocaleString()} changes waiting`
    pending.dataset.count = String(waiting)
    synced.textContent = `Last synced: ${formatTime(status.lastSyncedAt, 'never')}`
    failed.textContent = status.deadLetters > 0 ? `${status.deadLetters} refused` : ''
    storage.textContent = storageText(status.storage)
    storage.dataset.mode = status.storage.mode
    online.checked = network.online
    onlineText.textContent = network.online ? 'Online' : 'Offline'
    // Screen readers hear where it ends, not every step between.
    const settled = !['pushing', 'pulling', 'applying'].includes(status.state)
    if (settled && announced !== text) {
      announced = text
      live.textContent = `${device.title}: ${text}. ${pending.textContent}.`
    }
  }

  db.status.subscribe(show)
  network.subscribe(show)
  show()
  return element('header', { class: 'status-bar' },
    element('div', { class: 'brand' }, element('h1', {}, device.title), element('p', {}, state)),
    element('div', { class: 'controls' },
      element('label', { class: 'switch', for: 'online-switch' }, online, onlineText), syncNow),
    element('div', { class: 'facts' }, pending, synced, failed, storage),
    live)
}

function storageText({ mode, durable, persisted, reason }) {
  const because = reason ? ` (${reason})` : ''
  if (!durable) return `Not kept when this page closes${because}`
  if (mode === 'localstorage') return `Kept in the small storage${because}`
  return persisted ? 'Kept on this device, protected' : 'Kept on this device'
}
