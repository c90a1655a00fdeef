// A tab list after the ARIA pattern: arrows move, Home and End jump, only the chosen panel is shown.

import { element } from './dom.js'

/**
 * @param {readonly { id: string, title: string, panel: HTMLElement, mark?: HTMLElement }[]} tabs `mark` sits beside the title
 * @returns {{ node: HTMLElement, choose: (id: string) => void, focus: () => void }} `focus` on the title of the chosen one
 */
export function createTabs(tabs) {
  const buttons = tabs.map(({ id, title, mark }) => element('button', {
    type: 'button', role: 'tab', id: `tab-${id}`, 'aria-controls': `panel-${id}`, dataset: { testid: `tab-${id}` }, onclick: () => choose(id),
  }, title, mark ?? null))
  const list = element('div', { role: 'tablist', 'aria-label': 'Parts of the farm', class: 'tabs', onkeydown: onKey }, buttons)
  const panels = tabs.map(({ id, panel }) => element('section', {
    role: 'tabpanel', id: `panel-${id}`, 'aria-labelledby': `tab-${id}`, tabindex: '0', class: 'panel',
  }, panel))

  function choose(id) {
    tabs.forEach((tab, index) => {
      const chosen = tab.id === id
      buttons[index].setAttribute('aria-selected', String(chosen))
      buttons[index].tabIndex = chosen ? 0 : -1
      panels[index].hidden = !chosen
    })
  }

  function onKey(event) {
    const at = buttons.indexOf(document.activeElement)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key]
    if (at < 0 || to === undefined) return
    event.preventDefault()
    const index = (to + buttons.length) % buttons.length
    choose(tabs[index].id)
    buttons[index].focus()
  }

  choose(tabs[0].id)
  return { node: element('div', {}, list, panels), choose, focus: () => buttons.find(({ tabIndex }) => tabIndex === 0).focus() }
}
