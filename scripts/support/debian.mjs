// Installing Debian packages. Only called where `canInstallDebianPackages()` is true.

import { run } from './process.mjs'

/** Installs packages, refreshing the package lists first: a fresh machine has none, an old one has stale versions. */
export async function installDebianPackages(names) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['update'], { env, quiet: true })
  await run('apt-get', ['install', '-y', '--no-install-recommends', ...names], { env, quiet: true })
}
