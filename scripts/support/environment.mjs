// Where things are on this machine: the project's folders, the tools on PATH, the environments that cargo needs for native
// and for wasm builds, the browser. Only looks; `setup.mjs` installs.

import { accessSync, constants, readFileSync, realpathSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { capture } from './process.mjs'

/** The project's root folder. */
export const ROOT = resolve(import.meta.dirname, '../..')
/** Tools of a version this machine's own PATH does not have. */
export const TOOLS = join(ROOT, '.cache/tools')
/** The name under which rustup knows Debian's own Rust in /usr. */
export const DEBIAN_TOOLCHAIN = 'debian'
export const WASM_TARGET = 'wasm32-unknown-unknown'

/** The full path of a program on PATH, or `null`. */
export function findProgram(name, env = cargoEnv()) {
  const names = process.platform === 'win32' ? [`${name}.exe`, `${name}.cmd`] : [name]
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    for (const candidate of names) {
      const path = join(folder, candidate)
      if (isExecutable(path)) return path
    }
  }
  return null
}

/** The environment for native cargo commands: this process's, with our tools and `~/.cargo/bin` first on PATH. */
export function cargoEnv() {
  const cargoBin = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin')
  const present = (process.env.PATH ?? '').split(delimiter)
  const wanted = [join(TOOLS, 'bin'), cargoBin]
  return { ...process.env, PATH: [...wanted, ...present.filter((folder) => !wanted.includes(folder))].join(delimiter) }
}

/**
 * The environment for cargo and wasm-pack with the wasm target, or `null` when no toolchain here has that target's standard
 * library. The default toolchain is preferred; Debian's own is used where only it can compile for wasm.
 */
export async function wasmEnv() {
  wasmEnvironment ??= findWasmEnv()
  const env = await wasmEnvironment
  if (env === null) wasmEnvironment = undefined // not cached: setup may install it in a moment
  return env
}
let wasmEnvironment

async function findWasmEnv() {
  const plain = cargoEnv()
  for (const env of [plain, { ...plain, RUSTUP_TOOLCHAIN: DEBIAN_TOOLCHAIN }]) {
    if (!await compilesWasm(env)) continue
    const sysroot = await capture('rustc', ['--print', 'sysroot'], { env })
    // Debian's Rust has no bundled linker for wasm.
    return sysroot === '/usr' ? { ...env, CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: debianLinker(env) } : env
  }
  return null
}

/** Really compiles a crate: a folder that exists may hold a library of another compiler version. */
async function compilesWasm(env) {
  // Into a folder of its own: as root, `rustc -o /dev/null` replaces the device by a file.
  const folder = await mkdtemp(join(tmpdir(), 'homing-probe-'))
  try {
    const args = ['--target', WASM_TARGET, '--crate-type', 'lib', '--crate-name', 'probe', '--emit', 'metadata', '--out-dir', folder, '-']
    return await capture('rustc', args, { env, input: 'pub fn probe() -> String { String::new() }' }) !== null
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function debianLinker(env) {
  for (let version = 30; version >= 15; version -= 1) {
    if (findProgram(`wasm-ld-${version}`, env) !== null) return `wasm-ld-${version}`
  }
  return 'wasm-ld'
}

/** The toolchain that an environment made by `wasmEnv()` uses, in words. */
export function describeToolchain(env) {
  return env.RUSTUP_TOOLCHAIN === undefined ? 'default toolchain' : `toolchain ${env.RUSTUP_TOOLCHAIN}`
}

/** Cargo's target folder for this project. */
export function targetDirectory() {
  return resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target')
}

/** Cargo's profile for the server (Cargo.toml says why it has its own). */
export const SERVER_PROFILE = 'server'

/** The server's binary, as `buildServer()` of `build.mjs` makes it. */
export function serverBinary() {
  return join(targetDirectory(), SERVER_PROFILE, process.platform === 'win32' ? 'homing-server.exe' : 'homing-server')
}

/** Chrome or Chromium: `CHROME_PATH`, else the first on PATH, else where macOS and Windows put it. `null` when there is none. */
export function chromePath() {
  const chosen = process.env.CHROME_PATH
  if (chosen !== undefined && chosen !== '') return isExecutable(chosen) ? chosen : null
  for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']) {
    const path = findProgram(name)
    if (path !== null) return path
  }
  const elsewhere = [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    `${process.env.PROGRAMFILES}\\Google\\Chrome\\Application\\chrome.exe`,
  ]
  return elsewhere.find(isExecutable) ?? null
}

/** True on Debian as root, where setup may install packages with apt-get. */
export function canInstallDebianPackages() {
  return debianRelease() && process.getuid?.() === 0 && findProgram('apt-get') !== null
}

/** True on Debian itself (not on Ubuntu, whose `chromium` package is a snap). */
export function debianRelease() {
  try {
    return /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'))
  } catch {
    return false
  }
}

/** The version of a crate in Cargo.lock, or `null`. */
export function lockedVersion(crate) {
  const lock = readFileSync(join(ROOT, 'Cargo.lock'), 'utf8')
  return lock.match(new RegExp(`name = "${crate}"\\nversion = "([^"]+)"`))?.[1] ?? null
}

/** npm as a command and its first arguments: the npm that started us, else the one on PATH. */
export function npm() {
  const script = process.env.npm_execpath
  return script?.endsWith('npm-cli.js') ? [process.execPath, realpathSync(script)] : ['npm']
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
