// The Rust steps of the set-up: compiler, standard library for wasm, wasm-bindgen and wasm-pack. Each step returns the words
// that follow its name in the output, or throws a `SetupError` that says what to do.

import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installDebianPackages } from './debian.mjs'
import { DEBIAN_TOOLCHAIN, ROOT, TOOLS, WASM_TARGET, canInstallDebianPackages, cargoEnv, describeToolchain, findProgram, lockedVersion, wasmEnv } from './environment.mjs'
import { SetupError, capture, progress, run } from './process.mjs'

const DEBIAN_STD = `/usr/lib/rustlib/${WASM_TARGET}/lib`
const DEBIAN_RUST = ['rustc-web', 'cargo-web', 'rustfmt-web', 'rust-web-clippy']
const DEBIAN_WASM = ['rustc-web', 'cargo-web', 'rust-web-src', 'rust-web-clippy', 'lld-22']
/** `wasm-pack test` works as the tests expect from here on. */
const WASM_PACK = '0.15.1'

/** Rust itself, new enough for the workspace, with rustfmt and clippy. */
export async function provideRust() {
  if (findProgram('cargo') === null) {
    if (!canInstallDebianPackages()) throw new SetupError('Rust is not installed.', "Install it from https://rustup.rs (the default profile), then run this command again.")
    await progress("installing Debian's Rust", () => installDebianPackages(DEBIAN_RUST))
  }
  const env = cargoEnv()
  const version = (await capture('rustc', ['--version'], { env, cwd: ROOT }))?.match(/\d+\.\d+\.\d+/)?.[0]
  if (version === undefined) throw new SetupError('`rustc --version` does not work.', 'Repair the Rust installation: `rustup default stable`.')
  const needed = (await readFile(join(ROOT, 'Cargo.toml'), 'utf8')).match(/^rust-version = "([^"]+)"/m)?.[1] ?? '0'
  if (olderThan(version, needed)) throw new SetupError(`Rust ${version} is too old; the workspace needs ${needed}.`, 'Update it: `rustup update stable`.')
  const [fmt, clippy] = await Promise.all(['fmt', 'clippy'].map((name) => capture('cargo', [name, '--version'], { env, cwd: ROOT })))
  if (fmt === null || clippy === null) {
    const added = await progress('installing rustfmt and clippy', () => run('rustup', ['component', 'add', 'rustfmt', 'clippy'], { env, quiet: true, timeout: 180_000, allowFailure: true }))
    if (added.code !== 0) throw new SetupError('rustfmt or clippy is missing.', 'Install them: `rustup component add rustfmt clippy`.')
  }
  return `present (${version})`
}

/** A C compiler: linking any Rust program and building SQLite need one. */
export async function provideLinker() {
  if (findProgram('cc') !== null) return 'present'
  if (!canInstallDebianPackages()) throw new SetupError('There is no C compiler (`cc`).', 'Debian, Ubuntu: sudo apt-get install -y gcc libc6-dev\nmacOS: xcode-select --install')
  await progress('installing a C compiler', () => installDebianPackages(['gcc', 'libc6-dev']))
  return 'installed'
}

/** Rust's standard library for wasm: there already, else by rustup, else built from Debian's sources. */
export async function provideWasmStd() {
  const present = await wasmEnv()
  if (present !== null) return `present (${describeToolchain(present)})`
  const env = cargoEnv()
  if (findProgram('rustup') !== null && await rustupReachable()) {
    await progress('installing wasm std by rustup', () => run('rustup', ['target', 'add', WASM_TARGET], { env, quiet: true, timeout: 180_000, allowFailure: true }))
  }
  if (await wasmEnv() === null && canInstallDebianPackages()) await buildDebianStd(env)
  const env2 = await wasmEnv()
  if (env2 === null) {
    throw new SetupError('Rust cannot compile for WebAssembly here.', `Run: rustup target add ${WASM_TARGET}\n(needs static.rust-lang.org; without it, a Debian 12 machine as root can build the library itself)`)
  }
  return `installed (${describeToolchain(env2)})`
}

/** rustup hangs when its server is out of reach, so ask first. Behind a proxy only rustup knows the way. */
async function rustupReachable() {
  if (['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'].some((name) => process.env[name])) return true
  const server = process.env.RUSTUP_DIST_SERVER ?? 'https://static.rust-lang.org'
  try {
    const answer = await fetch(`${server}/dist/channel-rust-stable.toml.sha256`, { method: 'HEAD', signal: AbortSignal.timeout(5_000) })
    return answer.ok
  } catch {
    return false
  }
}

async function buildDebianStd(env) {
  await progress("installing Debian's Rust and its sources", () => installDebianPackages(DEBIAN_WASM))
  const crate = await mkdtemp(join(tmpdir(), 'homing-std-'))
  try {
    await mkdir(join(crate, 'src'))
    await writeFile(join(crate, 'src/lib.rs'), '')
    await writeFile(join(crate, 'Cargo.toml'), '[package]\nname = "stdcrate"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n')
    const buildEnv = {
      ...env,
      RUSTC: '/usr/bin/rustc',
      RUSTC_BOOTSTRAP: '1', // -Zbuild-std on a stable compiler
      RUSTFLAGS: '-Cembed-bitcode=yes', // or `lto = true` fails: "Can't find section .llvmbc"
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: 'wasm-ld-22',
      CARGO_TARGET_DIR: join(crate, 'target'),
    }
    const args = ['build', '--release', '--target', WASM_TARGET, '-Zbuild-std=std,panic_abort,test']
    await progress('building wasm std (about 90 s)', () => run('/usr/bin/cargo', args, { cwd: crate, env: buildEnv, quiet: true }))
    const built = join(crate, 'target', WASM_TARGET, 'release/deps')
    await rm(DEBIAN_STD, { recursive: true, force: true }) // two builds side by side break
    await mkdir(DEBIAN_STD, { recursive: true })
    for (const name of await readdir(built)) {
      if (name.endsWith('.rlib') && !name.startsWith('libstdcrate-')) await copyFile(join(built, name), join(DEBIAN_STD, name))
    }
  } finally {
    await rm(crate, { recursive: true, force: true })
  }
  if (findProgram('rustup') !== null) await run('rustup', ['toolchain', 'link', DEBIAN_TOOLCHAIN, '/usr'], { env, quiet: true })
}

/** The wasm-bindgen command line of exactly the crate's version: glue and module must match. */
export async function provideWasmBindgen() {
  const version = lockedVersion('wasm-bindgen')
  if (version === null) throw new SetupError('Cargo.lock does not name wasm-bindgen.', 'Restore it: git checkout Cargo.lock')
  const present = await versionOf('wasm-bindgen')
  if (present === version) return `present (${version})`
  await installCrate('wasm-bindgen-cli', version, present !== null)
  return `installed (${version})`
}

/** wasm-pack, which runs the browser tests. */
export async function provideWasmPack() {
  const present = await versionOf('wasm-pack')
  if (present !== null && !olderThan(present, WASM_PACK)) return `present (${present})`
  await installCrate('wasm-pack', WASM_PACK, present !== null)
  return `installed (${WASM_PACK})`
}

async function versionOf(tool) {
  return (await capture(tool, ['--version'], { env: cargoEnv() }))?.match(/\d+\.\d+\.\d+/)?.[0] ?? null
}

/** Not `--locked`: a lock file may name a crate version that a registry mirror does not have yet. */
async function installCrate(name, version, otherVersionPresent) {
  // Someone's own version stays as it is: ours goes beside it, first on the PATH of `cargoEnv()`.
  const place = otherVersionPresent ? ['--root', TOOLS] : []
  const { CARGO_TARGET_DIR: _, ...env } = cargoEnv()
  await progress(`installing ${name} ${version} (about 5 min)`, () => run('cargo', ['install', name, '--version', version, ...place], { env, cwd: tmpdir(), quiet: true }))
}

function olderThan(version, needed) {
  const [a, b] = [version, needed].map((text) => text.split('.').map(Number))
  for (let i = 0; i < 3; i += 1) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}
