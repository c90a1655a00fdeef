#!/usr/bin/env node
// Builds the package: Rust -> wasm -> glue -> optimised wasm -> bundles and types in `dist/`. A step whose inputs did not change
// is skipped. The glue in `build/wasm/` is private; `src/js` imports it as `#wasm` (package.json, "imports").
//
//   node scripts/build.mjs [server]

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { setUp } from './setup.mjs'
import { ROOT, SERVER_PROFILE, WASM_TARGET, cargoEnv, targetDirectory, wasmEnv } from './support/environment.mjs'
import { isMain, progress, run, runMain } from './support/process.mjs'
import { unlessDone } from './support/stamp.mjs'

const HELP = `Usage: node scripts/build.mjs [server]

With "server": builds the reference server. Without: fills dist/ with the npm package:
  homing.js     the wasm inlined; works without configuration
  slim.js       the caller passes the wasm
  homing.wasm   that wasm
  worker.js     the script of a worker that the page starts itself; homing.js has it inlined
  testing.js    a world for tests; uses homing.js
  types/        TypeScript declarations
  NOTICE        licences of what the bundles contain
and prints the sizes.`

/** What rustc turns on for this target by default; wasm-opt must know, and must not use more (DESIGN, browser floors). */
const WASM_FEATURES = ['--enable-bulk-memory', '--enable-bulk-memory-opt', '--enable-call-indirect-overlong', '--enable-multivalue', '--enable-mutable-globals', '--enable-nontrapping-float-to-int', '--enable-reference-types', '--enable-sign-ext']
const BROWSERS = ['chrome96', 'firefox115', 'safari15.4']
const GLUE = ['build/wasm/homing_wasm.js', 'build/wasm/homing_wasm_bg.wasm']
/** The server in memory of `homing/testing`: a module of its own, inlined there, because in `homing.wasm` every page would pay for it. */
const AUTHORITY = ['build/wasm/homing_authority.js', 'build/wasm/homing_authority_bg.wasm']
const AUTHORITY_WASM = 'build/wasm/authority.wasm'

/** What every step is made with: this script, and the packages that it calls. */
const TOOLS = ['scripts/build.mjs', 'package-lock.json']

const step = (name, { inputs, ...rest }) => unlessDone(name, { inputs: [...TOOLS, ...inputs], ...rest })

/** Builds everything that changed. Needs nothing but the source tree: it sets up first. */
export async function build() {
  await setUp(['rust', 'wasm', 'packages'])
  const compiled = await buildWasm()
  await step('glue', { inputs: ['Cargo.lock'], key: await hashFile(compiled), outputs: GLUE, work: () => progress('generating the glue', () => bindWasm(compiled, 'homing_wasm')) })
  await step('wasm-opt', { inputs: [GLUE[1]], key: WASM_FEATURES.join(), outputs: ['dist/homing.wasm'], work: () => progress('optimising the wasm', () => optimiseWasm('-O3', GLUE[1], 'dist/homing.wasm')) })
  const authority = await buildWasm('authority')
  await step('authority', { inputs: ['Cargo.lock'], key: await hashFile(authority), outputs: [...AUTHORITY, AUTHORITY_WASM], work: () => progress('the server for tests', async () => {
    await bindWasm(authority, 'homing_authority')
    await optimiseWasm('-O1', AUTHORITY[1], AUTHORITY_WASM)
  }) })
  const bundled = ['src/js', 'package.json', GLUE[0], 'dist/homing.wasm', AUTHORITY[0], AUTHORITY_WASM]
  await step('bundles', { inputs: bundled, key: BROWSERS.join(), outputs: ['dist/worker.js', 'dist/homing.js', 'dist/slim.js', 'dist/testing.js', 'dist/NOTICE'], work: () => progress('bundling', bundle) })
  await step('types', { inputs: ['src/js', 'tsconfig.json'], outputs: ['dist/types/index.d.ts'], work: () => progress('emitting types', emitTypes) })
  await copySchemas()
  await copyConformance()
  await printSizes()
}

/** Builds the reference server; resolves when the binary is there. */
export async function buildServer() {
  await setUp(['rust'])
  await run('cargo', ['build', '--profile', SERVER_PROFILE, '-p', 'homing-server'], { cwd: ROOT, env: cargoEnv() })
}

/** Cargo knows best what changed, and prints its progress. Resolves to the path of the module. */
async function buildWasm(feature = null) {
  const profile = feature ?? 'release'
  const more = feature === null ? [] : ['--features', feature]
  await run('cargo', ['build', '--profile', profile, '--target', WASM_TARGET, '-p', 'homing', '--lib', ...more], { cwd: ROOT, env: await wasmEnv() })
  return join(targetDirectory(), WASM_TARGET, profile, 'homing.wasm')
}

async function bindWasm(compiled, name) {
  // Without the default path there is no `new URL('….wasm', import.meta.url)` in the bundle for other bundlers to trip over.
  const args = ['--target', 'web', '--no-typescript', '--omit-default-module-path', '--out-dir', 'build/wasm', '--out-name', name, compiled]
  await run('wasm-bindgen', args, { cwd: ROOT, env: cargoEnv(), quiet: true })
}

async function optimiseWasm(level, from, to) {
  await mkdir(join(ROOT, 'dist'), { recursive: true })
  await run(process.execPath, ['node_modules/binaryen/bin/wasm-opt', level, ...WASM_FEATURES, from, '-o', to], { cwd: ROOT, quiet: true })
}

async function bundle() {
  const { build: bundler } = await import('esbuild')
  const packages = new Set()
  const shared = { absWorkingDir: ROOT, bundle: true, format: 'esm', platform: 'browser', target: BROWSERS, logLevel: 'warning', legalComments: 'none', metafile: true }
  const esbuild = async (options) => {
    const { metafile } = await bundler({ ...shared, ...options })
    for (const input of Object.keys(metafile.inputs)) packages.add(/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1])
  }
  // A classic script, small: it runs as either kind of worker, and every page that imports homing.js carries it as text.
  await esbuild({ format: 'iife', minify: true, entryPoints: ['src/js/worker/host.ts'], outfile: 'dist/worker.js' })
  await esbuild({ entryPoints: ['src/js/index.ts'], outfile: 'dist/homing.js', plugins: [inlineWasm('wasm-bytes', 'dist/homing.wasm'), inlineText('worker-script', 'dist/worker.js')] })
  await esbuild({ entryPoints: ['src/js/slim.ts'], outfile: 'dist/slim.js' })
  // What is tested is the module that the app imports, not a copy: its errors are instances of the same class.
  await esbuild({ entryPoints: ['src/js/testing.ts'], outfile: 'dist/testing.js', plugins: [inlineWasm('authority-bytes', AUTHORITY_WASM), besideIndex()] })
  packages.delete(undefined)
  await writeNotice([...packages].sort())
}

/** The licences of the packages that are in the bundles, as these ask for. */
async function writeNotice(packages) {
  const texts = await Promise.all(packages.map(async (name) => {
    const { version, license } = JSON.parse(await readFile(join(ROOT, 'node_modules', name, 'package.json'), 'utf8'))
    return `${name} ${version} (${license})\n\n${(await readFile(join(ROOT, 'node_modules', name, 'LICENSE'), 'utf8')).trim()}\n`
  }))
  await writeFile(join(ROOT, 'dist/NOTICE'), `The scripts of this package contain parts of:\n\n${texts.join('\n\n')}`)
}

/** `import bytes from 'homing:<name>'`: a function that decodes the module; importing it does no work. */
function inlineWasm(name, file) {
  return {
    name: 'inline-wasm',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: new RegExp(`^homing:${name}$`) }, ({ path }) => ({ path, namespace: 'homing' }))
      onLoad({ filter: /.*/, namespace: 'homing' }, async () => {
        const base64 = (await readFile(join(ROOT, file))).toString('base64')
        return { loader: 'js', resolveDir: join(ROOT, 'src/js'), contents: inlined(JSON.stringify(base64)) }
      })
    },
  }
}

/**
 * A module whose default export decodes the inlined wasm. The text is no part of a function: the first call of that would have to scan
 * 3 MB of source once more, 12 ms of opening.
 */
function inlined(literal) {
  return `import { decodeBase64 } from './base64.ts'
const text = ${literal}
export function base64() { return text }
export default function bytes() { return decodeBase64(base64()) }`
}

/** `import text from 'homing:<name>'`: a function that gives the file. */
function inlineText(name, file) {
  return {
    name: 'inline-text',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: new RegExp(`^homing:${name}$`) }, ({ path }) => ({ path, namespace: 'homing-text' }))
      onLoad({ filter: /.*/, namespace: 'homing-text' }, async () => ({ loader: 'js', contents: `export default function text() { return ${JSON.stringify(await readFile(join(ROOT, file), 'utf8'))} }` }))
    },
  }
}

/** The default entry stays outside of a bundle and is imported from beside it. */
function besideIndex() {
  return { name: 'beside-index', setup: ({ onResolve }) => onResolve({ filter: /\/index\.js$/ }, () => ({ path: './homing.js', external: true })) }
}

async function emitTypes() {
  await rm(join(ROOT, 'dist/types'), { recursive: true, force: true })
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit', 'false', '--emitDeclarationOnly', '--declaration', '--outDir', 'dist/types'], { cwd: ROOT, quiet: true })
}

/** The declarations that client and server share go into the package as they are. */
async function copySchemas() {
  const folder = join(ROOT, 'src/schemas')
  for (const name of existsSync(folder) ? await readdir(folder) : []) await copyFile(join(folder, name), join(ROOT, 'dist', name))
}

/** The conformance kit is plain JavaScript for Node; beside it the vectors it asks for. */
async function copyConformance() {
  await rm(join(ROOT, 'dist/conformance'), { recursive: true, force: true })
  await cp(join(ROOT, 'src/conformance'), join(ROOT, 'dist/conformance'), { recursive: true })
  await cp(join(ROOT, 'tests/fixtures/merge'), join(ROOT, 'dist/conformance/vectors'), { recursive: true })
}

async function hashFile(path) {
  return createHash('sha256').update(await readFile(path)).digest('hex')
}

async function printSizes() {
  console.log('\nfile               raw      gzip    brotli')
  for (const name of ['homing.wasm', 'homing.js', 'slim.js', 'worker.js', 'testing.js']) {
    const bytes = await readFile(join(ROOT, 'dist', name))
    const sizes = [bytes.length, gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length]
    console.log(name.padEnd(12) + sizes.map((size) => String(size).padStart(10)).join(''))
  }
}

async function main() {
  if (process.argv.includes('--help')) return console.log(HELP)
  if (process.argv.includes('server')) await buildServer()
  else await build()
}

if (isMain(import.meta)) await runMain(main)
