// A reference server with collections of the test's own, and pages with several databases: devices that meet.

import { writeFile, rm, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startServer } from '../support/server.mjs'
import { openSite } from './page.mjs'

/**
 * - `page`; `prepared()`: another page, a tab of the same profile. In them `device(name, token, onConflict?, more?)` opens a database
 *   whose collection `asked` has that handler, `meeting(a, b, collection)` has both edit one record, `a` syncs first, and
 *   `until(holds, source)` waits for a change of `source` after which it holds.
 * - `token()`: somebody new. `run(steps, ...rest)`: runs `steps(token, ...rest)` in `page`.
 *
 * @example
 * const farm = await openFarm({ asked: { merge: 'manual' } })
 * await farm.run(async (token) => { const db = await device('a', token) })
 * await farm.close()
 */
export async function openFarm(collections) {
  const folder = await mkdtemp(join(tmpdir(), 'homing-farm-'))
  await writeFile(join(folder, 'schema.json'), JSON.stringify({ collections }))
  const server = await startServer({ schema: join(folder, 'schema.json') })
  const site = await openSite()
  const token = () => server.token(`farm-${crypto.randomUUID()}`)
  const page = await prepared()
  return { site, page, prepared, token, run, close }

  async function prepared() {
    const opened = await site.open()
    await opened.evaluate(({ url, collections }) => {
      window.device = (name, token, onConflict, more) => openDatabase({ name, collections: { ...collections, asked: { ...collections.asked, ...(onConflict && { onConflict }) } }, sync: { url, auto: false, getToken: async () => token }, ...more })
      window.meeting = async (a, b, collection, id = crypto.randomUUID()) => {
        await a.collection(collection).insert({ id, name: 'Layers', n: 0 })
        await a.sync()
        await b.sync()
        await a.collection(collection).update(id, { n: 1 })
        await a.sync()
        const write = b.collection(collection).update(id, { n: 2 })
        await write
        await b.sync()
        return { id, write }
      }
      window.until = async (holds, source) => {
        while (!holds()) await new Promise((resolve) => { const stop = source.subscribe(() => { stop(); resolve() }) })
      }
    }, { url: server.url, collections })
    return opened
  }

  async function run(steps, ...rest) {
    return page.evaluate(async ([source, token, ...rest]) => new Function(`return (${source})`)()(token, ...rest), [String(steps), await token(), ...rest])
  }

  async function close() {
    await site.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}
