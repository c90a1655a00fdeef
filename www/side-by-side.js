// Two devices in one window: two frames of this page, each with a database and an offline switch of its own, to play the
// story by hand. The frames share nothing but the server.

import { element } from './dom.js'

/** Often enough to watch a change arrive on the other device; the library's own default is a minute. */
const POLL_MS = 4_000

const STORY = [
  'On the barn phone press “Load the farm”. It sends all records to the server, and the office tablet gets them from there by itself.',
  'Switch both devices offline. Change the number of birds of the same flock on both, and different limits under Config.',
  'Delete a flock on one device and change the same flock on the other.',
  'Switch both online and press “Sync now”. Nothing is lost: look at Config for the archive and for the decision that waits.',
]

/**
 * @param {HTMLElement} root
 * @param {readonly { id: string, title: string }[]} devices
 */
export function startSideBySide(root, devices) {
  document.title = 'Homing: two devices, one farm'
  document.body.classList.add('side-by-side')
  const frame = ({ id, title }) => {
    const alone = `./?device=${id}`
    return element('figure', { class: `device device-${id}` },
      element('figcaption', {}, element('strong', {}, title), element('a', { href: alone, target: '_blank', rel: 'noopener' }, 'Open alone')),
      element('iframe', { src: `${alone}&poll=${POLL_MS}`, title, dataset: { testid: `frame-${id}` } }))
  }
  root.replaceChildren(
    element('header', { class: 'stage-head' },
      element('h1', {}, 'One farm, two devices'),
      element('p', {}, 'Both keep the whole farm. Each works without a network and sends its changes when it is back.'),
      element('details', {}, element('summary', {}, 'Try this'), element('ol', {}, STORY.map((line) => element('li', {}, line))))),
    element('main', { class: 'stage' }, devices.map(frame)))
  document.documentElement.dataset.ready = 'true'
}
