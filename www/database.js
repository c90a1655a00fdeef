// Opens the device's database: where the server is, how collections merge, which token. No view is made here.

import { openDatabase } from 'homing'

/** The settings that the demo server gives to the page: `{ server, token }`. */
export async function readConfig() {
  const response = await fetch('./config.json', { cache: 'no-store' })
  if (!response.ok) throw new Error(`The demo server has no config.json (HTTP ${response.status}).`)
  return response.json()
}

/** The declaration that client and server share: which collection merges how, and what a record is called. */
export async function readSchema() {
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
  const [config, schema] = await Promise.all([readConfig(), readSchema()])
  const db = await openDatabase({
    name: `homing-demo-${device}`,
    version: schema.version,
    collections: schema.collections,
    sync: {
      url: config.server,
      getToken: async () => config.token,
      ...(pollInterval ? { pollInterval } : {}),
    },
    platform: { fetch: network.fetch },
  })
  return { db, config, collections: Object.keys(schema.collections) }
}
