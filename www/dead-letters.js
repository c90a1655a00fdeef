// Changes that the server refused for good. They stay on the device until the user retries or gives them up.

import { element, formatTime, keyedList } from './dom.js'

/**
 * @param {{ db: any, notices: any }} parts
 * @returns {HTMLElement}
 */
export function createDeadLetters({ db, notices }) {
  const list = element('ul', { class: 'rows', dataset: { testid: 'dead-letters' } })
  const heading = element('h3', {}, 'Refused by the server')
  const nothing = element('p', { class: 'hint' }, 'The server has refused nothing.')
  const rows = keyedList(list, { key: ({ id }) => id, create: createRow, heading })

  function createRow(letter) {
    const name = letter.record?.name ?? letter.recordId
    const what = `${letter.op} of ${letter.collection} '${name}'`
    return {
      node: element('li', { class: 'row dead-letter', dataset: { testid: 'dead-letter', id: letter.id } },
        element('div', {},
          element('p', {}, element('strong', {}, what)),
          element('p', { class: 'hint' }, `${letter.message} (${letter.code}${letter.path ? ` at ${letter.path}` : ''}) · ${formatTime(letter.at)}`)),
        element('div', { class: 'row-end' },
          element('button', { type: 'button', 'aria-label': `Retry the ${what}`, onclick: () => notices.watch(db.deadLetters.retry(letter.id)) }, 'Retry'),
          element('button', { type: 'button', class: 'quiet danger', 'aria-label': `Discard the ${what}`, onclick: () => notices.watch(db.deadLetters.discard(letter.id)) }, 'Discard'))),
      update() {},
    }
  }

  function show() {
    const letters = db.deadLetters.list()
    rows.show(letters)
    nothing.hidden = letters.length > 0
  }

  db.deadLetters.subscribe(show)
  show()
  return element('section', { class: 'card' }, heading, nothing, list)
}
