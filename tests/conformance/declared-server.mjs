// The reference server with the declarations that the kit asks about, beside those of an app.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { declarations } from '../../src/conformance/cli.mjs'
import { startServer } from '../../scripts/support/reference-server.mjs'

/** As `startServer`; `stop()` removes the declarations, too. Any number of requests unless `args` say otherwise. */
export async function startDeclared({ args = ['--rate', '0'], ...options } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'homing-conformance-'))
  const schema = join(folder, 'schema.json')
  const { collections } = JSON.parse(await readFile('src/schemas/egglogu.schema.json', 'utf8'))
  await writeFile(schema, JSON.stringify({ collections: { ...collections, ...(await declarations()).collections } }))
  const server = await startServer({ schema, args, ...options })
  return Object.create(server, { stop: { value: async () => { await server.stop(); await rm(folder, { recursive: true, force: true }) } } })
}
