// The entry `homing/testing`: for your tests, in Node and in a page. The engine is the one of `homing`; the server is
// the merge code of `homing-server` in a module of its own.

import initAuthority from '#authority'
import authorityBytes from 'homing:authority-bytes'
import type { Schema } from './types.js'
import { World, type WorldOptions } from './testing/world.js'

export type { Fault, Network } from './testing/network.js'
export type { World, WorldOptions, WorldServer } from './testing/world.js'

let loading: Promise<unknown> | null = null

/**
 * A world: devices, a server, a network that fails as told, and time that passes only when told. Equal seeds give equal
 * histories.
 *
 * @example
 * const world = await createWorld({ collections: { flocks: {} }, seed: 7, faults: { 'lost-answer': 0.3 } })
 * await world.device('a').collection('flocks').insert({ name: 'Layer Group 3' })
 * await world.settle()
 * world.device('b').collection('flocks').list()
 */
export async function createWorld<S extends Schema = Record<string, Record<string, unknown>>>(options: WorldOptions<S> = {}): Promise<World<S>> {
  await (loading ??= initAuthority({ module_or_path: authorityBytes() }))
  return World.make(options)
}
