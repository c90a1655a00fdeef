// Tells the user what happened: short notices, read out by screen readers, some with a button ("Undo"). Also the one place
// that waits for writes, so that a refused one is always said.

import { element, isShown } from './dom.js'

const SHOWN_MS = 8_000

const REASONS = {
  'storage-full': 'The storage of this device is full. The change was not saved.',
  'queue-full': 'Too many changes are waiting to be sent. The change was not saved.',
  'invalid-record': 'This value cannot be saved.',
  'not-found': 'This record is no longer there.',
  'append-only': 'Entries of this log cannot be changed.',
  offline: 'This device is offline. Changes are kept and sent later.',
  paused: 'Syncing is paused.',
  'breaker-open': 'The server failed several times; Homing waits a little before it tries again.',
  'auth-required': 'The server wants a new sign-in. Reload this page.',
  'server-error': 'The server could not answer. Changes are kept and sent later.',
  timeout: 'The server did not answer in time. Changes are kept and sent later.',
}

/**
 * @param {HTMLElement} root where notices appear
 * @returns {{ say: (text: string, options?: { action?: string, run?: () => void, alarm?: boolean }) => void, watch: (write: Promise<unknown>) => Promise<boolean> }}
 */
export function createNotices(root) {
  const polite = element('div', { 'aria-live': 'polite', class: 'notices', dataset: { testid: 'notices' } })
  root.append(polite)

  function say(text, { action, run, alarm = false } = {}) {
    let timer
    let cameFrom = null
    const close = () => {
      clearTimeout(timer)
      const hadFocus = notice.contains(document.activeElement)
      notice.remove()
      if (hadFocus) goOn(cameFrom)
    }
    const enter = ({ relatedTarget }) => { if (!notice.contains(relatedTarget)) cameFrom = relatedTarget }
    // Not under the hands of somebody who is about to press its button.
    const wait = () => {
      clearTimeout(timer)
      timer = setTimeout(() => (notice.matches(':hover, :focus-within') ? wait() : close()), SHOWN_MS)
    }
    const notice = element('div', { class: alarm ? 'notice alarm' : 'notice', role: alarm ? 'alert' : null, onmouseleave: wait, onfocusin: enter, onfocusout: wait },
      element('p', {}, text),
      action ? element('button', { type: 'button', class: 'quiet', onclick: () => { close(); run() } }, action) : null,
      element('button', { type: 'button', class: 'quiet', 'aria-label': 'Close notice', onclick: close }, '×'))
    polite.append(notice)
    wait()
  }

  /** Resolves to whether the write (or sync) went well; a refusal is shown. */
  async function watch(write) {
    try {
      await write
      return true
    } catch (error) {
      say(explain(error), { alarm: true })
      return false
    }
  }

  return { say, watch }
}

// Where somebody came from, or else at the tab whose panel is shown: whoever uses the keyboard goes on from there.
function goOn(from) {
  const node = from?.isConnected && isShown(from) ? from : document.querySelector('[role=tab][aria-selected=true]')
  node?.focus()
}

// The engine knows only that nothing came back; whether that is this device's doing, the page can tell.
function reasonOf(code) {
  if (code === 'offline' && navigator.onLine) return 'The server is out of reach. Changes are kept and sent later.'
  return REASONS[code]
}

/** An error in the words of the farm, with Homing's code for whoever is asked to help. */
export function explain(error) {
  const code = error?.code
  if (!code) return String(error?.message ?? error)
  return `${reasonOf(code) ?? error.message} (${code}${error.path ? ` at ${error.path}` : ''})`
}
