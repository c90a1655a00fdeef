// What the library peers are made of: installs the packages of `bench/package.json`, bundles each peer, and measures what a page loads.
//
// Nothing but the bench needs this. `homing` and the peers without libraries run as they are and are bundled only to be measured.

import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { ROOT, npm } from '../scripts/support/environment.mjs'
import { progress, run } from '../scripts/support/process.mjs'

const BENCH = import.meta.dirname
const STAMP = join(BENCH, 'node_modules/.bench-lock')

/** Installs the libraries, unless what is there was installed from this lock file. */
export async function installPeers() {
  const hash = createHash('sha256').update(await readFile(join(BENCH, 'package-lock.json'))).digest('hex')
  if (await readFile(STAMP, 'utf8').catch(() => '') === hash) return
  const [command, ...first] = npm()
  await progress('installing the libraries to compare with', () => run(command, [...first, 'ci', '--include=dev', '--no-audit', '--no-fund'], { cwd: BENCH, quiet: true }))
  await writeFile(STAMP, hash)
}

/** Bundles the library peers into `bench/out`; readable when they are to be profiled. */
export async function bundlePeers(peers, { readable }) {
  for (const { name } of peers.filter(({ library }) => library)) await bundle(name, { minify: !readable, outfile: join(BENCH, 'out', `${name}.js`) })
}

/** The module of a peer, as the page imports it. */
export function moduleOf({ name, library }) {
  return library ? `./out/${name}.js` : `./peers/${name}.mjs`
}

/** A sample of the workload `size`. */
export async function measureSize({ name }) {
  const { outputFiles } = await bundle(name, { minify: true, write: false })
  const bytes = outputFiles[0].contents
  const info = { 'gzip kB': gzipSync(bytes, { level: 9 }).length / 1000, 'raw kB': bytes.length / 1000 }
  if (name === 'homing') info['slim and wasm kB'] = (await brotliOf('dist/slim.js') + await brotliOf('dist/homing.wasm')) / 1000
  return { value: brotliCompressSync(bytes).length / 1000, info }
}

async function brotliOf(path) {
  return brotliCompressSync(await readFile(join(ROOT, path))).length
}

/** Which build of Homing was measured: the beginning of its module's SHA-256. */
export async function readBuild() {
  return createHash('sha256').update(await readFile(join(ROOT, 'dist/homing.wasm'))).digest('hex').slice(0, 12)
}

/** Names and versions of the libraries, for the report. */
export async function readVersions(peers) {
  const { packages } = JSON.parse(await readFile(join(BENCH, 'package-lock.json'), 'utf8'))
  return Object.fromEntries(peers.filter(({ library }) => library).map((peer) => [peer.name, packages[`node_modules/${peer.package}`].version]))
}

async function bundle(name, options) {
  const { build } = await import('esbuild')
  return build({
    absWorkingDir: BENCH,
    entryPoints: [`peers/${name}.mjs`],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'chrome120',
    define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
    alias: { homing: join(ROOT, 'dist/homing.js') },
    legalComments: 'none',
    logLevel: 'warning',
    ...options,
  })
}
