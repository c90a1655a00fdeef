// A few fields of the two singletons, `farm` and `settings`. Each edit names one field, so two devices that edit different
// fields both keep their edit.

import { createBadge } from './badge.js'
import { element, fieldInput, labelled } from './dom.js'

const GROUPS = [
  ['farm', 'The farm', [
    ['name', 'Name', {}],
    ['location', 'Place', {}],
    ['capacity', 'Capacity (birds)', { type: 'number', step: '1' }],
    ['currency', 'Currency', {}],
  ]],
  ['settings', 'Limits and alerts', [
    ['minFeedStock', 'Least feed in stock (kg)', { type: 'number', step: 'any' }],
    ['maxMortality', 'Highest mortality (%)', { type: 'number', step: 'any' }],
    ['alertDaysBefore', 'Remind days before', { type: 'number', step: '1' }],
    ['taxRate', 'Tax rate (%)', { type: 'number', step: 'any' }],
    ['vetMode', 'Veterinary mode', { type: 'checkbox' }],
  ]],
]

/**
 * @param {{ db: any, notices: any }} parts
 * @returns {HTMLElement}
 */
export function createSettings({ db, notices }) {
  return element('div', { class: 'settings' }, GROUPS.map(([name, title, fields]) => createGroup(name, title, fields)))

  function createGroup(name, title, fields) {
    const record = db.singleton(name)
    const badge = createBadge()
    const inputs = fields.map(([field, label, options]) => [field, label, fieldInput({
      label,
      testid: `${name}-${field}`,
      refuse: (why) => notices.say(why, { alarm: true }),
      save: async (value) => record.get()?.[field] === value || notices.watch(record.update({ [field]: value })),
      ...options,
    })])
    const showState = () => { if (record.get()) badge.show(record.state()) }
    function show() {
      const value = record.get()
      for (const [field, , input] of inputs) input.show(value?.[field])
      showState()
    }
    record.subscribe(show)
    db.status.subscribe(showState)
    show()
    return element('section', { class: 'card', dataset: { testid: `group-${name}` } },
      element('h3', {}, title, ' ', badge.node),
      element('div', { class: 'fields' }, inputs.map(([, label, input]) => labelled(label, input.node))))
  }
}
