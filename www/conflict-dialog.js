// Asks the user what no rule can decide: the record was deleted on one device and changed on another. A modal <dialog>, so
// the browser keeps the focus inside and gives it back; leaving it decides nothing and the question stays on Config.

import { describeConflict, isOurs } from './conflict-words.js'
import { createDiff } from './diff.js'
import { element } from './dom.js'
import { explain } from './notices.js'

/** Long enough that the second press of a double click, meant for what stood there before, decides nothing. */
const UNREAD_MS = 500

/**
 * @param {{ db: any, notices: any, root: HTMLElement }} parts
 * @returns {{ open: (conflict: any, returnTo?: HTMLElement) => void }} `open` for the list on Config, with where the focus goes when
 *   what opened it is gone; new conflicts of this device open by themselves
 */
export function createConflictDialog({ db, notices, root }) {
  const title = element('h2', { id: 'conflict-title', tabindex: '-1', dataset: { testid: 'conflict-title' } })
  const body = element('div', {})
  const buttons = element('div', { class: 'buttons' })
  // Notices are out of reach while this is open.
  const problem = element('p', { class: 'problem', role: 'alert' })
  const dialog = element('dialog', { class: 'conflict', 'aria-labelledby': 'conflict-title', dataset: { testid: 'conflict-dialog' } },
    element('p', { class: 'eyebrow' }, 'Your decision is needed'), title, body, problem, buttons)
  root.append(dialog)

  let current = null
  let back = null
  const asked = new Set()

  function open(conflict, returnTo = null, { unasked = false } = {}) {
    asked.add(conflict.id)
    current = conflict
    back = returnTo
    problem.textContent = ''
    const { sentence, choices, left, right } = describeConflict(conflict, db.clientId)
    const diff = createDiff({ left, right, base: conflict.base })
    diff.hidden = true
    title.textContent = sentence
    const view = element('button', {
      type: 'button', class: 'quiet', 'aria-expanded': 'false', dataset: { testid: 'view-diff' },
      onclick: () => {
        diff.hidden = !diff.hidden
        view.setAttribute('aria-expanded', String(!diff.hidden))
      },
    }, 'View diff')
    body.replaceChildren(element('p', {}, 'Nothing is lost: the other version stays in the archive.'), diff)
    const answers = choices.map(({ choice, text, testid }, index) => element('button', {
      type: 'button', class: index === 0 ? null : 'second', disabled: unasked, dataset: { testid }, onclick: () => decide(choice),
    }, text))
    if (unasked) setTimeout(() => { for (const answer of answers) answer.disabled = false }, UNREAD_MS)
    buttons.replaceChildren(
      ...answers,
      view,
      element('button', { type: 'button', class: 'quiet', dataset: { testid: 'decide-later' }, onclick: () => dialog.close() }, 'Later'))
    if (!dialog.open) dialog.showModal()
    // The question is read first; the buttons follow in tab order, none is chosen by a stray Enter.
    title.focus()
  }

  async function decide(choice) {
    const { id, label } = current
    for (const button of buttons.children) button.disabled = true
    try {
      await db.conflicts.resolve(id, choice)
    } catch (error) {
      for (const button of buttons.children) button.disabled = false
      problem.textContent = explain(error)
      title.focus()
      return
    }
    // The decision may have closed it already, and the next question stands there now.
    if (current?.id === id) dialog.close()
    notices.say(`Decided: ${label}.`)
  }

  function waiting() {
    return db.conflicts.list({ status: 'unresolved' })
  }

  /** Opens the next question of this device that was not yet asked; closes one that was answered elsewhere. */
  function showNext() {
    const unresolved = waiting()
    if (current !== null) {
      // What was open is taken leave of first: the event `close` comes later, and asks again.
      if (dialog.open && !unresolved.some(({ id }) => id === current.id)) dialog.close()
      return
    }
    const next = unresolved.find((conflict) => isOurs(conflict, db.clientId) && !asked.has(conflict.id))
    if (next) open(next, null, { unasked: true })
  }

  dialog.addEventListener('close', () => {
    const decided = current !== null && !waiting().some(({ id }) => id === current.id)
    current = null
    // The row with the button that opened it goes with the decision, at once or in a moment.
    if (decided || document.activeElement === document.body) back?.focus()
    back = null
    showNext()
  })
  db.conflicts.subscribe(showNext)
  showNext()
  return { open }
}
