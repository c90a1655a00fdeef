// The packed tarball, installed into empty projects in a temporary folder, as a user would get it from the registry.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ROOT, npm } from '../../scripts/support/environment.mjs'
import { run } from '../../scripts/support/process.mjs'

/**
 * Packs the built package and resolves to `{ files, manifest, project, remove }`.
 *
 * - `files`: the paths inside the tarball. `manifest`: its package.json.
 * - `project(name, files)`: the folder of a new project with those files, where `homing` is installed.
 * - `remove()`: deletes everything.
 */
export async function packTarball() {
  const folder = await mkdtemp(join(tmpdir(), 'homing-package-'))
  const [command, ...first] = npm()
  // Without scripts: `prepack` builds, and the test command did that before.
  const { stdout } = await run(command, [...first, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT, quiet: true })
  const [packed] = JSON.parse(stdout)
  const tarball = join(folder, packed.filename)
  await run('tar', ['-xzf', tarball, '-C', folder], { quiet: true })
  return {
    files: packed.files.map(({ path }) => path),
    manifest: JSON.parse(await readFile(join(folder, 'package/package.json'), 'utf8')),
    async project(name, files) {
      const path = join(folder, name)
      await mkdir(path)
      const manifest = { name, version: '1.0.0', private: true, type: 'module' }
      for (const [file, text] of Object.entries({ 'package.json': JSON.stringify(manifest), ...files })) {
        await mkdir(dirname(join(path, file)), { recursive: true })
        await writeFile(join(path, file), text)
      }
      await run(command, [...first, 'install', '--no-audit', '--no-fund', '--prefer-offline', tarball], { cwd: path, quiet: true })
      return path
    },
    async remove() {
      await rm(folder, { recursive: true, force: true })
    },
  }
}
