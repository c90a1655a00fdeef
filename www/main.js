// Entry of the demo page: one device when the address names it, both side by side otherwise.

import { startDevice } from './app.js'
import { startSideBySide } from './side-by-side.js'

const DEVICES = [{ id: 'a', title: 'Barn phone' }, { id: 'b', title: 'Office tablet' }]

const query = new URLSearchParams(location.search)
const root = document.getElementById('app')
const device = DEVICES.find(({ id }) => id === query.get('device'))
if (device) await startDevice({ root, device, pollInterval: Number(query.get('poll')) || undefined })
else startSideBySide(root, DEVICES)

// Without it the page is the same, as long as there is a network.
navigator.serviceWorker?.register('./service-worker.js').catch(() => {})
