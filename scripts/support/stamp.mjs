// Skips a build step whose inputs and outputs are what they were: one hash per step, kept in `.cache/stamps.json`.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ROOT } from './environment.mjs'

const FILE = join(ROOT, '.cache/stamps.json')

/**
 * Does `work` unless its `inputs` (files and folders), its `key` and the existence of its `outputs` are as after the last time.
 *
 * @param {string} name printed, and the name of the stamp
 * @param {{ inputs: readonly string[], outputs: readonly string[], key?: string, work: () => Promise<void> }} step paths relative to the project
 * @param {string} [file] where the hashes are
 */
export async function unlessDone(name, { inputs, outputs, key = '', work }, file = FILE) {
  const hash = await hashOf(inputs, key)
  if ((await readStamps(file))[name] === hash && outputs.every((path) => existsSync(join(ROOT, path)))) {
    console.log(`${name}: unchanged`)
    return
  }
  // Work that is cut short leaves half of its outputs, and the inputs may be as they were by the next time.
  await stamp(file, name, undefined)
  await work()
  await stamp(file, name, hash)
}

async function stamp(file, name, hash) {
  const stamps = { ...await readStamps(file), [name]: hash }
  await mkdir(dirname(file), { recursive: true })
  await writeFile(`${file}.new`, JSON.stringify(stamps, null, 2))
  await rename(`${file}.new`, file)
}

async function readStamps(file) {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch {
    return {} // none yet, or cut short: everything is built again
  }
}

async function hashOf(paths, key) {
  const hash = createHash('sha256').update(key)
  for (const path of paths) {
    for (const file of await filesBelow(path)) hash.update(file).update('\0').update(await readFile(join(ROOT, file))).update('\0')
  }
  return hash.digest('hex')
}

async function filesBelow(path) {
  try {
    const entries = await readdir(join(ROOT, path), { withFileTypes: true })
    const nested = await Promise.all(entries.map((entry) => (entry.isDirectory() ? filesBelow(`${path}/${entry.name}`) : [`${path}/${entry.name}`])))
    return nested.flat().sort()
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path]
    throw error
  }
}
