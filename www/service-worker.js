// Keeps the page itself, so that it opens without a network. The farm is none of its business: Homing keeps that in IndexedDB.
//
// The network comes first, so a page that was built anew is never shown as it was. Where the network fails, or takes its time, the copy
// is given; and a page that began from its copy gets all of itself from there, because one that waited for each file would wait long.

const CACHE = 'homing-demo-1'
const PATIENCE_MS = 2_000

/** All that the page is made of. Not `config.json`: where the server is and who we are is asked each time. */
const SHELL = [
  './', './app.js', './archive.js', './audit-log.js', './badge.js', './conflict-dialog.js', './conflict-words.js', './database.js', './dead-letters.js', './diff.js', './dom.js',
  './first-run.js', './flocks.js', './icon.svg', './main.js', './manifest.webmanifest', './network.js', './notices.js', './production.js', './settings.js', './side-by-side.js',
  './status-bar.js', './style.css', './tabs.js', './undo.js', './homing/homing.js', './homing/egglogu.schema.json',
].map((path) => new URL(path, self.location).href)

/** Pages that began from their copy; forgotten when the browser ends this worker, which costs patience and nothing else. */
const fromCopy = new Set()

self.addEventListener('install', (event) => event.waitUntil(keepAll()))
self.addEventListener('activate', (event) => event.waitUntil(dropOlder()))
self.addEventListener('fetch', (event) => {
  const { origin, pathname } = new URL(event.request.url)
  const key = origin + pathname
  if (event.request.method === 'GET' && SHELL.includes(key)) event.respondWith(answer(event, key))
})

async function keepAll() {
  const cache = await caches.open(CACHE)
  await cache.addAll(SHELL.map((url) => new Request(url, { cache: 'reload' })))
  await self.skipWaiting()
}

async function dropOlder() {
  const names = await caches.keys()
  await Promise.all(names.filter((name) => name.startsWith('homing-demo-') && name !== CACHE).map((name) => caches.delete(name)))
}

async function answer({ request, clientId, resultingClientId }, key) {
  const cache = await caches.open(CACHE)
  const copy = await cache.match(key)
  const page = resultingClientId || clientId
  if (copy && fromCopy.has(page)) return copy
  const fresh = fetch(request).then((response) => {
    // A copy that cannot be kept is missed later; the page is here now.
    if (response.ok && !response.redirected) cache.put(key, response.clone()).catch(() => {})
    return response
  })
  if (!copy) return fresh
  const patience = new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS, copy) })
  const given = await Promise.race([patience, fresh.then((response) => (response.ok ? response : copy), () => copy)])
  if (given === copy) fromCopy.add(page)
  return given
}
