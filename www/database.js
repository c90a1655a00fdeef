// Opens the device's database: where the server is, how collections merge, which token. No view is made here.

import { openDatabase } from 'homing'

const ADDRESS_KEY = 'homing-demo:server'
const MOMENT_MS = 1_000
const PATIENCE_MS = 15_000

/** What the demo server says to the page: `{ server, token }`. */
async function readConfig(within) {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), within)
  try {
    const response = await fetch('./config.json', { cache: 'no-store', signal: late.signal })
    if (!response.ok) throw new Error(`The demo server has no config.json (HTTP ${response.status}).`)
    return await response.json()
  } catch (error) {
    throw late.signal.aborted ? new Error('The demo server does not answer.') : error
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Where the server is. The demo's may have moved since the last visit, so it is asked, for a moment; an app of yours knows the address.
 * Opening never waits for a network that does not answer.
 */
async function serverAddress() {
  const known = localStorage.getItem(ADDRESS_KEY)
  try {
    const { server } = await readConfig(known === null ? PATIENCE_MS : MOMENT_MS)
    localStorage.setItem(ADDRESS_KEY, server)
    return server
  } catch (error) {
    if (known === null) throw error
    return known
  }
}

/**
 * A token, asked for when there is none and when the server has refused one; Homing keeps it meanwhile, in memory. This demo makes a new
 * one each time; a session of yours should renew its own where `refresh` is true. Without one the server is asked all the same: it
 * may be as far out of reach as the page's own.
 */
async function getToken() {
  const config = await readConfig(PATIENCE_MS).catch(() => null)
  return config?.token ?? null
}

/** The declaration that client and server share: which collection merges how, and what a record is called. A file of the page's own. */
async function readSchema() {
  const response = await fetch(new URL('egglogu.schema.json', import.meta.resolve('homing')))
  if (!response.ok) throw new Error(`The package has no egglogu.schema.json (HTTP ${response.status}).`)
  return response.json()
}

/**
 * Opens `homing-demo-<device>`.
 *
 * @param {{ device: string, network: { fetch: typeof fetch }, pollInterval?: number }} options pollInterval in ms
 */
export async function openFarm({ device, network, pollInterval }) {
  const [url, schema] = await Promise.all([serverAddress(), readSchema()])
  const db = await openDatabase({
    name: `homing-demo-${device}`,
    version: schema.version,
    collections: schema.collections,
    sync: {
      url,
      getToken,
      ...(pollInterval ? { pollInterval } : {}),
    },
    platform: { fetch: network.fetch },
  })
  return { db, collections: Object.keys(schema.collections) }
}
