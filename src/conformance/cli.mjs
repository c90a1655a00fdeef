#!/usr/bin/env node
// `homing conformance <url> --token …`: asks a server to keep the promises of the protocol, and says which it kept.
// Not here: the promises (`cases.mjs`).

import { readFile, readdir } from 'node:fs/promises'
import { realpathSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { CASES } from './cases.mjs'
import { Run } from './client.mjs'
import { schema } from './declared.mjs'

/** What a case needs, by the mark that it has in the list. */
const MARKS = { declared: ' *', 'other-token': ' +' }

const HELP = `Usage: homing conformance <url> --token TOKEN [--other-token TOKEN] [--declared] [--only NAME,NAME]
       homing conformance --print-schema

Checks any server of the sync protocol at <url>/api/v1/sync/delta, as a device would use it. It writes some hundred records
into the scope of the token, under names of its own: use a scope that is only for tests. HOMING_TOKEN is taken, too.
--declared asks also what needs declared collections (*); the server must have loaded what --print-schema prints.
--other-token is a token of another scope, with which is asked what each sees of the other (+).

${CASES.map(({ name, promise, needs }) => `  ${`${name}${MARKS[needs] ?? ''}`.padEnd(20)}${promise}`).join('\n')}`

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

/** The cases that are asked, and those that something is missing for. */
function choose({ declared = false, otherToken, only }) {
  const can = { declared: declared || only !== undefined, 'other-token': otherToken !== undefined }
  const named = CASES.filter(({ name }) => only === undefined || only.includes(name))
  return { asked: named.filter(({ needs }) => needs === undefined || can[needs]), left: named.filter(({ needs }) => needs !== undefined && !can[needs]) }
}

/** Runs the cases; resolves to what came of each that could be asked: `{ name, promise, error }`, `error` null where the promise was kept. */
export async function conformance(url, token, { fetch, timeout, tell = () => {}, ...options } = {}) {
  const vectors = await readVectors()
  const told = []
  for (const { name, promise, story } of choose(options).asked) {
    const error = await story(new Run(url, token, { fetch, timeout, otherToken: options.otherToken }), vectors).then(() => null, (error) => error)
    told.push({ name, promise, error })
    tell(told.at(-1))
  }
  return told
}

async function main() {
  const { values, positionals: [command, url] } = parseArgs({ allowPositionals: true, options: { token: { type: 'string' }, 'other-token': { type: 'string' }, only: { type: 'string' }, declared: { type: 'boolean' }, 'print-schema': { type: 'boolean' }, help: { type: 'boolean' } } })
  const token = values.token ?? process.env.HOMING_TOKEN
  if (command === 'conformance' && values['print-schema']) return console.log(JSON.stringify(await declarations(), null, 2))
  if (values.help || command !== 'conformance' || url === undefined || token === undefined) {
    console.log(HELP)
    process.exitCode = values.help ? 0 : 2
    return
  }
  const unknown = values.only?.split(',').find((name) => !CASES.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`there is no case "${unknown}"`)
  const options = { declared: values.declared, only: values.only?.split(','), otherToken: values['other-token'] }
  const [missing] = values.only === undefined ? [] : choose(options).left
  if (missing !== undefined) throw new Error(`${missing.name} needs --${missing.needs}`)
  const told = await conformance(url, token, {
    ...options,
    tell: ({ name, promise, error }) => console.log(`${error === null ? 'ok  ' : 'FAIL'} ${name.padEnd(20)}${promise}${error === null ? '' : `\n     ${error.message.replaceAll('\n', '\n     ')}`}`),
  })
  const failed = told.filter(({ error }) => error !== null).length
  const left = choose(options).left.map(({ name, needs }) => `${name} (--${needs})`)
  console.log(`\n${told.length - failed} kept, ${failed} broken${left.length > 0 ? `, ${left.length} not asked: ${left.join(', ')}` : ''}`)
  process.exitCode = failed === 0 ? 0 : 1
}

if (process.argv[1] !== undefined && import.meta.filename === realpathSync(process.argv[1])) {
  await main().catch((error) => {
    console.error(error.message)
    process.exitCode = 2
  })
}
