// The network between the devices and the server of a world, and what goes wrong in it. A request takes no time unless something
// goes wrong; at most one thing does. Not here: what the server makes of a request (`world.ts`).

import type { PullRequest, PushRequest, SyncResponse, Transport } from '../types.js'
import { chance, known, whole } from './checks.js'
import type { Clock } from './clock.js'
import type { Random } from './random.js'

/** What can happen to a request, in the order in which it is drawn. */
const FAULTS = ['lost-request', 'lost-answer', 'duplicate', 'late', 'unavailable', 'rate-limited', 'unauthorized', 'too-large'] as const

/**
 * `lost-request`: it never arrives · `lost-answer`: the server acts, the answer never arrives · `duplicate`: the server gets it again
 * within a minute · `late`: it arrives within a minute, others overtake it, and its sender may have given up · `unavailable`: 503 ·
 * `rate-limited`: 429 with a time to wait · `unauthorized`: 401, the token has expired · `too-large`: 413 to more than one mutation.
 */
export type Fault = typeof FAULTS[number]
type Chances = { [F in Fault]?: number }

type Request = { readonly kind: 'push'; readonly body: PushRequest } | { readonly kind: 'pull'; readonly body: PullRequest }
interface Script { readonly fault: Fault; readonly device: string | undefined; left: number }
const MINUTE = 60_000

export class Network {
  #faults: Chances = {}
  /** How often each happened. */
  readonly injected: Chances = {}
  readonly #clock: Clock
  readonly #random: Random
  readonly #serve: (request: Request) => SyncResponse
  readonly #told: (device: string, online?: boolean) => void
  readonly #log: (line: string) => void
  readonly #offline = new Set<string>()
  readonly #scripts: Script[] = []
  #underWay = 0

  /** @internal */
  constructor(clock: Clock, random: Random, faults: Chances, serve: (request: Request) => SyncResponse, told: (device: string, online?: boolean) => void, log: (line: string) => void) {
    this.#clock = clock
    this.#random = random
    this.faults = faults
    this.#serve = serve
    this.#told = told
    this.#log = log
  }

  /** How likely each fault is for a request from now on, 0 to 1. */
  get faults(): Chances {
    return this.#faults
  }

  set faults(chances: Chances) {
    known('fault', chances, FAULTS)
    for (const fault of FAULTS) chance(fault, chances[fault])
    const set = (target: Chances, fault: string | symbol, value: unknown): boolean => {
      known('fault', { [fault]: value }, FAULTS)
      chance(String(fault), value)
      return Reflect.set(target, fault, value)
    }
    this.#faults = new Proxy({ ...chances }, { set })
  }

  /** The next request (of that device; the next `times`) meets this fault, whatever `faults` says. @example world.network.next('lost-answer', { device: 'a' }) */
  next(fault: Fault, { device, times = 1 }: { device?: string; times?: number } = {}): void {
    known('fault', { [fault]: times }, FAULTS)
    whole('times', times, 1)
    if (device !== undefined) this.#told(device)
    this.#scripts.push({ fault, device, left: times })
  }

  /** Cuts a device off; its page is told, as a browser tells it. */
  offline(device: string): void {
    this.#told(device, false)
    this.#offline.add(device)
  }

  online(device: string): void {
    this.#told(device, true)
    this.#offline.delete(device)
  }

  isOffline(device: string): boolean {
    return this.#offline.has(device)
  }

  /** Nothing goes wrong any more, and everybody is online. */
  heal(): void {
    this.faults = {}
    this.#scripts.length = 0
    for (const device of this.#offline) this.online(device)
  }

  /** Requests that have not arrived, or not for the last time. @internal */
  get underWay(): number {
    return this.#underWay
  }

  /** A device's way to the server. @internal */
  transport(device: string, begins: () => (answer: SyncResponse) => void): Transport {
    const ask = async (request: Request, signal: AbortSignal): Promise<SyncResponse> => {
      const arrived = begins()
      this.#underWay++
      try {
        const answer = await this.#carry(device, request)
        // Who has given up hears nothing.
        if (!signal.aborted) arrived(answer)
        return answer
      } finally {
        this.#underWay--
      }
    }
    return {
      push: (body, { signal }) => ask({ kind: 'push', body }, signal),
      pull: (body, { signal }) => ask({ kind: 'pull', body }, signal),
    }
  }

  async #carry(device: string, request: Request): Promise<SyncResponse> {
    const count = request.kind === 'push' ? request.body.mutations.length : 0
    const say = (what: string): void => this.#log(`${device} ${request.kind}${count > 0 ? ` ${count}` : ''}: ${what}`)
    if (this.#offline.has(device)) {
      say('offline')
      throw new Error('The device is offline.')
    }
    const fault = this.#draw(device, count)
    if (fault !== null) {
      this.injected[fault] = (this.injected[fault] ?? 0) + 1
      say(fault)
    }
    switch (fault) {
      case 'lost-request': throw new Error('The request was lost.')
      case 'unavailable': throw answered(503)
      case 'rate-limited': throw answered(429, 1000 + Math.floor(this.#random.next() * 9000))
      case 'unauthorized': throw answered(401)
      case 'too-large': throw answered(413)
      case 'late': await this.#wait(); break
      case 'duplicate': this.#again(request); break
      default:
    }
    const answer = this.#serve(request)
    if (fault === 'lost-answer' || this.#offline.has(device)) throw new Error('The answer was lost.')
    say(`rev ${answer.rev ?? ''}${(answer.results ?? []).map(({ status }) => ` ${status}`).join('')}`)
    return answer
  }

  #draw(device: string, count: number): Fault | null {
    const fits = (fault: Fault): boolean => fault !== 'too-large' || count > 1
    const script = this.#scripts.find((one) => fits(one.fault) && (one.device ?? device) === device)
    if (script !== undefined) {
      if (--script.left === 0) this.#scripts.splice(this.#scripts.indexOf(script), 1)
      return script.fault
    }
    // Every number is drawn, so that a chance of 0 changes nothing for the others.
    const hits = FAULTS.filter((fault) => this.#random.next() < (this.faults[fault] ?? 0) && fits(fault))
    return hits[0] ?? null
  }

  #wait(): Promise<void> {
    return this.#clock.sleep(Math.floor(this.#random.next() * MINUTE))
  }

  #again(request: Request): void {
    this.#underWay++
    void this.#wait().then(() => {
      this.#underWay--
      try {
        this.#serve(request)
      } catch {
        // Refused, and nobody waits for it.
      }
    })
  }
}

function answered(status: number, retryAfterMs?: number): Error {
  return Object.assign(new Error(`The server answered ${status}.`), { status, retryAfterMs })
}
