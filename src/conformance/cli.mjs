#!/usr/bin/env node
// `homing conformance <url> --token …`: asks a server to keep the promises of the protocol, and says which it kept.
// Not here: the promises (`cases.mjs`).

import { readFile } from 'node:fs/promises'
import { realpathSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { CASES } from './cases.mjs'
import { Run } from './client.mjs'

const HELP = `Usage: homing conformance <url> --token TOKEN [--only NAME,NAME]

Checks any server of the sync protocol at <url>/api/v1/sync/delta, as a device would use it. It writes some hundred records
into the scope of the token, under names of its own: use a scope that is only for tests. HOMING_TOKEN is taken, too.

${CASES.map(({ name, promise }) => `  ${name.padEnd(20)}${promise}`).join('\n')}`

/** Runs the cases; resolves to what came of each: `{ name, promise, error }`, `error` null where the promise was kept. */
export async function conformance(url, token, { only = CASES.map(({ name }) => name), fetch, tell = () => {} } = {}) {
  const { cases: vectors } = JSON.parse(await readFile(new URL('./lww.json', import.meta.url), 'utf8').catch(() => readFile(new URL('../../tests/fixtures/merge/lww.json', import.meta.url), 'utf8')))
  const told = []
  for (const { name, promise, story } of CASES.filter(({ name }) => only.includes(name))) {
    const error = await story(new Run(url, token, fetch), vectors).then(() => null, (error) => error)
    told.push({ name, promise, error })
    tell(told.at(-1))
  }
  return told
}

async function main() {
  const { values, positionals: [command, url] } = parseArgs({ allowPositionals: true, options: { token: { type: 'string' }, only: { type: 'string' }, help: { type: 'boolean' } } })
  const token = values.token ?? process.env.HOMING_TOKEN
  if (values.help || command !== 'conformance' || url === undefined || token === undefined) {
    console.log(HELP)
    process.exitCode = values.help ? 0 : 2
    return
  }
  const unknown = values.only?.split(',').find((name) => !CASES.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`there is no case "${unknown}"`)
  const told = await conformance(url, token, {
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
