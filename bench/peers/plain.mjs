// The protocol that somebody writes who writes the sync alone, for all peers that leave it to the app: `bench/server.mjs`, "plain".

/** Records in one request, and in one page of an answer. */
export const BATCH = 1_000

/** Pushes records; resolves when the server has acknowledged all of them. */
export async function send(database, records) {
  const response = await fetch(`/sync/${database}/plain/push`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ records }) })
  const { acked } = await response.json()
  if (acked.length !== records.length) throw new Error('the server did not acknowledge all')
}

/** One page of changes after `since`. */
export async function page(database, since, limit = BATCH) {
  return (await fetch(`/sync/${database}/plain/pull?since=${since}&limit=${limit}`)).json()
}

/** All pages after `since`; the next one is on its way while the consumer works on this one. */
export async function* pages(database, since) {
  let next = page(database, since)
  while (next !== null) {
    const current = await next
    next = current.more ? page(database, current.checkpoint) : null
    yield current
  }
}
