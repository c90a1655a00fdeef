// Skips a build step whose inputs and outputs are what they were: one hash per step, kept in `.cache/stamps.json`.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ROOT } from './environment.mjs'

const FILE = join(ROOT, '.cache/stamps.json')

/**
 * Does `work` unless its `inputs` (files and folders), its `key` and the existence of its `outputs` are as after the last time.
 *
 * @param {string} name printed, and the name of the stamp
 * @param {{ inputs: readonly string[], outputs: readonly string[], key?: string, work: () => Promise<void> }} step paths relative to the project
 */
export async function unlessDone(name, { inputs, outputs, key = '', work }) {
  const hash = await hashOf(inputs, key)
  if ((await readStamps())[name] === hash && outputs.every((path) => existsSync(join(ROOT, path)))) {
    console.log(`${name}: unchanged`)
    return
  }
  await work()
  const stamps = { ...await readStamps(), [name]: hash }
  await mkdir(dirname(FILE), { recursive: true })
  await writeFile(FILE, JSON.stringify(stamps, null, 2))
}

async function readStamps() {
  try {
    return JSON.parse(await readFile(FILE, 'utf8'))
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
