// The page's own "airplane mode": the fetch that the engine uses fails like a lost network while the switch is off, and the
// page is told by the events a browser sends. Nothing here knows about records; the real network is left alone, so two
// devices in one window can be switched apart.

/**
 * Makes the switch of one device. It survives a reload.
 *
 * @param {string} device
 * @returns {{ online: boolean, fetch: typeof fetch, setOnline: (online: boolean) => void, subscribe: (listener: () => void) => () => void }}
 */
export function createNetwork(device) {
  const key = `homing-demo-${device}:offline`
  const listeners = new Set()
  let online = localStorage.getItem(key) === null
  let cut = new AbortController()
  const reported = Object.getOwnPropertyDescriptor(Navigator.prototype, 'onLine')

  // The engine asks navigator.onLine; on this page it answers for the switch as well.
  Object.defineProperty(navigator, 'onLine', { configurable: true, get: () => online && reported.get.call(navigator) })

  async function switchedFetch(input, init = {}) {
    if (!online) throw new TypeError('Failed to fetch (this device is switched offline)')
    const line = cut.signal
    const signal = init.signal ? anySignal([init.signal, line]) : line
    try {
      return await fetch(input, { ...init, signal })
    } catch (error) {
      // A cut line is a network failure for the engine, not an abort that it asked for.
      if (line.aborted && !init.signal?.aborted) throw new TypeError('Failed to fetch (the line was cut)')
      throw error
    }
  }

  function setOnline(next) {
    if (next === online) return
    online = next
    if (online) {
      localStorage.removeItem(key)
      cut = new AbortController()
    } else {
      localStorage.setItem(key, '1')
      cut.abort()
    }
    window.dispatchEvent(new Event(online ? 'online' : 'offline'))
    for (const listener of listeners) listener()
  }

  return {
    get online() { return online },
    fetch: switchedFetch,
    setOnline,
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

// AbortSignal.any is younger than the browsers that Homing supports; without it each request leaves a listener on the line.
function anySignal(signals) {
  if (typeof AbortSignal.any === 'function') return AbortSignal.any(signals)
  const controller = new AbortController()
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason)
    else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true, signal: controller.signal })
  }
  return controller.signal
}
