// A world for tests: a server, devices, a network between them and a clock, all in one process and from one seed.

import { Server as Authority } from '#authority'
import { openInside } from '../index.js'
import type { Inside } from '../inside.js'
import type { AnyOptions } from '../options.js'
import type { CollectionOptions, Database, Name, OpenOptions, Row, Schema, SharedCollections, SyncOptions, SyncResponse, WireMutation } from '../types.js'
import { known, span, whole } from './checks.js'
import { Clock, quiet } from './clock.js'
import { Network } from './network.js'
import { Random } from './random.js'

/** What a world is made of. */
export interface WorldOptions<S extends Schema> {
  /** As for `openDatabase`; the server gets the same. */
  collections?: { [K in Name<S>]?: CollectionOptions<S[K]> } | SharedCollections
  version?: number
  /** Equal seeds, equal histories. */
  seed?: number
  /** How many (`a`, `b`, …), or their names. */
  devices?: number | readonly string[]
  /** How likely each fault is, 0 to 1; see `world.network`. */
  faults?: Network['faults']
  /** When it begins. */
  start?: string
  /** A rule of your server's own: what it says here is refused for good. */
  refuse?: (mutation: WireMutation) => { message: string; path?: string } | undefined
  sync?: Pick<SyncOptions, 'auto' | 'debounce' | 'pollInterval' | 'timeout' | 'batch' | 'maxAttempts'>
}

/** The server, looked at from inside. */
export interface WorldServer<S extends Schema> {
  /** The live rows of a collection, in the order in which they were written last. */
  rows<K extends Name<S>>(collection: K): readonly Row<S[K]>[]
}

interface Device { readonly inside: Inside; database: unknown; skew: number; seen: number; behind: boolean }
const SCOPE = 'world'
const DAY = 24 * 60 * 60 * 1000
const OPTIONS = ['collections', 'version', 'seed', 'devices', 'faults', 'start', 'refuse', 'sync']
const SYNC = ['auto', 'debounce', 'pollInterval', 'timeout', 'batch', 'maxAttempts']

export class World<S extends Schema> {
  readonly seed: number
  readonly network: Network
  readonly server: WorldServer<S>
  /** Every request and what became of it, crashes and openings, in order. */
  readonly log: readonly string[]
  readonly #clock: Clock
  readonly #random: Random
  readonly #authority: Authority
  readonly #devices = new Map<string, Device>()
  readonly #say: (line: string) => void

  private constructor(options: WorldOptions<S>) {
    const { seed = 1, start = '2026-01-01T00:00:00.000Z', faults = {}, collections = {}, version = 0, refuse } = options
    known('option of createWorld', options, OPTIONS)
    known('option of sync in a world', options.sync ?? {}, SYNC)
    whole('seed', seed, 0)
    if (refuse !== undefined && typeof refuse !== 'function') throw new TypeError('refuse is a function')
    if (Number.isNaN(Date.parse(start))) throw new TypeError(`start is no instant: ${String(start)}`)
    const log: string[] = []
    this.log = log
    this.seed = seed
    this.#clock = new Clock(Date.parse(start))
    const began = this.#clock.now
    this.#random = new Random(seed)
    this.#authority = ask(() => new Authority(JSON.stringify({ version, collections }), SCOPE))
    this.#say = (line) => void log.push(`${this.#clock.now - began} ${line}`)
    this.network = new Network(this.#clock, this.#random, faults, ({ kind, body }) => {
      if (kind === 'push') this.#refuse(body.mutations, refuse)
      return JSON.parse(ask(() => this.#authority[kind](JSON.stringify(body), this.#clock.now))) as SyncResponse
    }, (name, online) => {
      const { inside } = this.#known(name)
      if (online !== undefined) inside.setOnline(online)
    }, this.#say)
    this.server = { rows: (collection) => JSON.parse(this.#authority.rows(collection)) as never }
  }

  /** @internal */
  static async make<S extends Schema>(options: WorldOptions<S>): Promise<World<S>> {
    const world = new World(options)
    const { devices = 2 } = options
    if (typeof devices === 'number') whole('devices', devices, 1)
    const names = typeof devices === 'number' ? Array.from({ length: devices }, (_, n) => String.fromCharCode(97 + n)) : devices
    if (new Set(names).size < names.length || names.some((name) => typeof name !== 'string' || name === '')) throw new TypeError('Devices have names, each its own')
    for (const name of names) await world.#add(name, options)
    return world
  }

  async #add(name: string, { collections = {}, version = 0, sync = {} }: WorldOptions<S>): Promise<void> {
    let token = 0
    const device = { skew: 0, seen: -1, behind: true } as Device
    // An answer to a page that is gone tells nothing about the one opened since.
    const begins = (): (answer: SyncResponse) => void => {
      const { database } = device
      return ({ rev = 0, hasMore }) => { if (device.database === database) Object.assign(device, { seen: rev, behind: hasMore }) }
    }
    const options: OpenOptions<S> = {
      name, collections, version, storage: 'memory', sync: { ...sync, transport: this.network.transport(name, begins), getToken: async () => `token-${++token}` },
    }
    const inside = await openInside(options as unknown as AnyOptions, {
      now: () => this.#clock.now + device.skew, random: () => this.#random.next(), uuid: () => this.#random.uuid(), sleep: (ms) => this.#clock.sleep(ms),
    })
    this.#devices.set(name, Object.assign(device, { inside }))
    await this.reopen(name)
  }

  /** The database of a device, as `openDatabase` gives it. */
  device(name: string): Database<S> {
    const { inside, database } = this.#known(name)
    if (!inside.isOpen) throw new Error(`The device '${name}' has no open database: it crashed or closed. Call world.reopen('${name}').`)
    return database as Database<S>
  }

  /** Now, in milliseconds since 1970. */
  get now(): number {
    return this.#clock.now
  }

  /** Lets time pass: timers ring, requests arrive. Nothing else makes it pass but `settle` and `run`. */
  async advance(ms: number): Promise<void> {
    span('advance', ms)
    await this.#clock.advance(ms)
  }

  /**
   * Lets time pass until every device that is open and online has sent what it can and knows all the server has, and every `onConflict`
   * has answered. What waits for a person (conflicts, dead letters and what they block) does not count.
   *
   * @throws Error after `within` milliseconds of the world's time (a day), saying what still waits
   */
  async settle({ within = DAY }: { within?: number } = {}): Promise<void> {
    span('within', within)
    const until = this.#clock.now + within
    await quiet()
    while (this.#unsettled().length > 0) {
      const { next } = this.#clock
      if (next > until) throw this.#late('The world', 'did not settle', within)
      await this.#clock.advance(Math.max(0, next - this.#clock.now))
    }
  }

  /**
   * Lets time pass until a promise settles.
   *
   * @throws Error after `within` milliseconds of the world's time (a day), saying what still waits
   * @example const report = await world.run(world.device('a').sync())
   */
  async run<T>(promise: Promise<T>, { within = DAY }: { within?: number } = {}): Promise<T> {
    span('within', within)
    const until = this.#clock.now + within
    let pending = true
    const done = (): void => void (pending = false)
    promise.then(done, done)
    await quiet()
    while (pending) {
      const { next } = this.#clock
      if (next > until) throw this.#late('The promise', 'did not settle', within)
      await this.#clock.advance(Math.max(0, next - this.#clock.now))
    }
    return promise
  }

  /** The page of a device dies now. What it had in flight to its disk lands or not: drawn, unless `lands` says. */
  crash(name: string, { lands = this.#random.next() < 0.5 }: { lands?: boolean } = {}): void {
    this.#say(`${name} crashes`)
    this.#known(name).inside.crash(lands)
  }

  /** Opens the database of a device that crashed or closed, on what it had stored. */
  async reopen(name: string): Promise<Database<S>> {
    const device = this.#known(name)
    if (device.inside.isOpen) return this.device(name)
    this.#say(`${name} opens`)
    device.behind = true
    device.database = await device.inside.open()
    return this.device(name)
  }

  /** Sets the error of a device's clock, in milliseconds. */
  skew(name: string, ms: number): void {
    if (!Number.isFinite(ms)) throw new TypeError(`skew is a number of milliseconds, not ${String(ms)}`)
    this.#known(name).skew = ms
  }

  /** Closes every database. */
  async close(): Promise<void> {
    for (const [name, { inside }] of this.#devices) if (inside.isOpen) await this.device(name).close()
  }

  #known(name: string): Device {
    const device = this.#devices.get(name)
    if (device === undefined) throw new TypeError(`No such device: ${String(name)}. There are: ${[...this.#devices.keys()].join(', ')}`)
    return device
  }

  #late(who: string, what: string, within: number): Error {
    const offline = [...this.#devices.keys()].filter((name) => this.network.isOffline(name)).map((name) => `${name} is offline`)
    const waiting = [...this.#unsettled(), ...offline]
    return new Error(`${who} (seed ${this.seed}) ${what} within ${within} ms: ${waiting.length > 0 ? waiting.join('; ') : 'nothing else waits'}`)
  }

  #unsettled(): string[] {
    const waiting = this.network.underWay > 0 ? [`${this.network.underWay} requests are under way`] : []
    for (const [name, { inside, seen, behind }] of this.#devices) {
      if (inside.asking > 0) waiting.push(`onConflict of ${name} has not answered`)
      if (!inside.isOpen || this.network.isOffline(name)) continue
      const database = this.device(name)
      const unsent = database.queue.list().filter(({ state }) => state === 'queued' || state === 'syncing').length
      if (unsent > 0) waiting.push(`${name} has ${unsent} unsent writes (${database.status.getSnapshot().state})`)
      else if (behind || seen < this.#authority.rev()) waiting.push(`${name} has not heard of the last changes (${database.status.getSnapshot().state})`)
    }
    return waiting
  }

  #refuse(mutations: readonly WireMutation[], rule: WorldOptions<S>['refuse']): void {
    if (rule === undefined) return
    for (const mutation of mutations) {
      const why = rule(mutation)
      if (why !== undefined) this.#authority.refuse(mutation.id, why.message, why.path)
    }
  }
}

/** Calls the module; its errors are JSON texts. */
function ask<T>(call: () => T): T {
  try {
    return call()
  } catch (thrown) {
    if (typeof thrown !== 'string') throw thrown
    const { message, ...rest } = JSON.parse(thrown) as { message: string }
    throw Object.assign(new Error(message), rest)
  }
}
