// A server inside the page: `fetch` of `/no-server…` answers from memory, in Homing's protocol or in that of the hand-written peer.
//
// Lives here: pages of changes as JSON text, made before anybody asks. Not here: pushes, tokens, faults.

const PAGE = 1_000

/** Takes `fetch` over until `stop()`. `publish(records, stamp)`: what the next pull gets. */
export function serveFromMemory() {
  const real = globalThis.fetch
  let rev = 0
  const pages = []

  function publish(records, stamp) {
    for (let from = 0; from < records.length; from += PAGE) {
      const rows = records.slice(from, from + PAGE).map((record) => ({ ...record, _updatedAt: stamp, _deletedAt: null, _rev: ++rev }))
      pages.push({ rev, text: JSON.stringify(rows) })
    }
  }

  globalThis.fetch = async (url, init) => {
    const address = new URL(url, location.href)
    if (!address.pathname.startsWith('/no-server')) return real(url, init)
    const cursor = address.searchParams.get('cursor')
    const since = Number(/\d+/.exec(cursor?.replace('c1.', '') ?? '0')?.[0] ?? 0)
    const page = pages.find((page) => page.rev > since)
    const last = page === undefined || page === pages.at(-1)
    const at = page?.rev ?? since
    const text = address.searchParams.has('plain')
      ? `{"records":${page?.text ?? '[]'},"checkpoint":${at},"more":${!last}}`
      : `{"protocol":1,"requestId":"bench","serverTime":"${new Date().toISOString()}","scope":"bench","epoch":"bench","results":[],"changes":[${page ? `{"collection":"records","records":${page.text}}` : ''}],"rev":${rev},"cursor":"c1.${at}..bench","hasMore":${!last},"reset":false}`
    return new Response(text, { headers: { 'content-type': 'application/json' } })
  }
  return { publish, stop() { globalThis.fetch = real } }
}
