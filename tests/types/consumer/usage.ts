// The package as an app gets it: by its exports, with its libraries checked, without the library that its types need themselves.

import { openDatabase, sharedSchema, type Database } from 'homing'
import { sharedSchema as slimSchema } from 'homing/slim'
import { createWorld } from 'homing/testing'
import egglogu from 'homing/egglogu.schema.json'
import file from './farm.json'

interface Farm { flocks: { eggs: number }; log: { at: string } }

export async function uses(): Promise<void> {
  const db: Database<Farm> = await openDatabase<Farm>({ name: 'farm', ...sharedSchema(file) })
  db.collection('flocks').get('f')?.eggs.toFixed()
  await openDatabase({ name: 'any', collections: sharedSchema(file).collections, version: 3 })
  await openDatabase<Farm>({ name: 'egglogu', ...egglogu })
  await createWorld<Farm>({ ...slimSchema(file), seed: 7 })
  // @ts-expect-error what is written by hand is checked word by word
  await openDatabase<Farm>({ name: 'x', collections: { flocks: { merge: 'newest' } } })
  // @ts-expect-error and name by name
  await openDatabase<Farm>({ name: 'x', collections: { flock: {} } })
  // @ts-expect-error JSON says string where a declaration has a word
  await openDatabase<Farm>({ name: 'x', collections: file.collections })
}
