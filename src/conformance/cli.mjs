#!/usr/bin/env node
// `homing conformance <url> --token …`: asks a server to keep the promises of the protocol, and says which it kept.
// Not here: the promises (`cases.mjs`).

import { readFile, readdir } from 'node:fs/promises'
import { realpathSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { CASES } from './cases.mjs'
import { Run } from './client.mjs'
import { schema } from './declared.mjs'

const HELP = `Usage: homing conformance <url> --token TOKEN [--declared] [--only NAME,NAME]
       homing conformance --print-schema

Checks any server of the sync protocol at <url>/api/v1/sync/delta, as a device would use it. It writes some hundred records
into the scope of the token, under names of its own: use a scope that is only for tests. HOMING_TOKEN is taken, too.
--declared asks also what needs declared collections (*); the server must have loaded what --print-schema prints.

${CASES.map(({ name, promise, needs }) => `  ${`${name}${needs === 'declared' ? ' *' : ''}`.padEnd(20)}${promise}`).join('\n')}`

/** The golden vectors by the name of their file, packed beside this or in the repository. */
async function readVectors() {
  const packed = new URL('./vectors/', import.meta.url)
  const folder = await readdir(packed).then(() => packed, () => new URL('../../tests/fixtures/merge/', import.meta.url))
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort()
  const read = async (name) => [name.replace('.json', ''), JSON.parse(await readFile(new URL(name, folder), 'utf8'))]
  return Object.fromEntries(await Promise.all(files.map(read)))
}

/** What the server must declare for the cases that need it. */
export async function declarations() {
  return schema(await readVectors())
}

/** Runs the cases; resolves to what came of each: `{ name, promise, error }`, `error` null where the promise was kept. */
export async function conformance(url, token, { declared: asked = false, only, fetch, timeout, tell = () => {} } = {}) {
  const vectors = await readVectors()
  const chosen = only === undefined ? CASES.filter(({ needs }) => needs === undefined || asked) : CASES.filter(({ name }) => only.includes(name))
  const told = []
  for (const { name, promise, story } of chosen) {
    const error = await story(new Run(url, token, { fetch, timeout }), vectors).then(() => null, (error) => error)
    told.push({ name, promise, error })
    tell(told.at(-1))
  }
  return told
}

async function main() {
  const { values, positionals: [command, url] } = parseArgs({ allowPositionals: true, options: { token: { type: 'string' }, only: { type: 'string' }, declared: { type: 'boolean' }, 'print-schema': { type: 'boolean' }, help: { type: 'boolean' } } })
  const token = values.token ?? process.env.HOMING_TOKEN
  if (command === 'conformance' && values['print-schema']) return console.log(JSON.stringify(await declarations(), null, 2))
  if (values.help || command !== 'conformance' || url === undefined || token === undefined) {
    console.log(HELP)
    process.exitCode = values.help ? 0 : 2
    return
  }
  const unknown = values.only?.split(',').find((name) => !CASES.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`there is no case "${unknown}"`)
  const told = await conformance(url, token, {
    declared: values.declared,
    only: values.only?.split(','),
    tell: ({ name, promise, error }) => console.log(`${error === null ? 'ok  ' : 'FAIL'} ${name.padEnd(20)}${promise}${error === null ? '' : `\n     ${error.message.replaceAll('\n', '\n     ')}`}`),
  })
  const failed = told.filter(({ error }) => error !== null).length
  console.log(`\n${told.length - failed} kept, ${failed} broken`)
  process.exitCode = failed === 0 ? 0 : 1
}

if (process.argv[1] !== undefined && import.meta.filename === realpathSync(process.argv[1])) {
  await main().catch((error) => {
    console.error(error.message)
    process.exitCode = 2
  })
}
