// What a workload may ask of the server behind its database (`server.mjs`), apart from what the peer asks.

/** The server's half of the database `name`. */
export function serverOf(name) {
  const call = async (path, init) => (await fetch(`/sync/${name}/${path}`, init)).json()
  return {
    /** Records that the next pull brings; `suffix` is added to the notes of each. */
    publish: (count, stamp, suffix = '') => call('publish', { method: 'POST', body: JSON.stringify({ from: 0, count, stamp, suffix }) }),
    /** What was pushed, one row per record. */
    stored: () => call('stored'),
  }
}
