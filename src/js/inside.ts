// Opening inside a world of `homing/testing`: the engine and the shell that a page gets, with the world's clock, randomness, network
// and disk in the place of the browser's. Not here: that world (`testing/`), opening in a page (`opening.ts`).

import { Disk } from '#wasm'
import type { AskingGround } from './asking.js'
import { LocalDatabase } from './database.js'
import type { Engine, Hooks } from './engine.js'
import { loadWasm, type WasmSource } from './loader.js'
import { declare, makeHooks, type AnyOptions } from './options.js'
import { Session } from './session.js'

/** What the engine asks instead of the browser. */
export type Surroundings = Required<Pick<Hooks, 'now' | 'random' | 'uuid' | 'sleep'>>

/** A device whose page can be opened, crash, and be opened again on what it had stored. */
export class Inside {
  readonly #options: AnyOptions
  readonly #surroundings: Surroundings
  readonly #disk = new Disk()
  #session: Session | null = null
  #online = true

  private constructor(options: AnyOptions, surroundings: Surroundings) {
    this.#options = options
    this.#surroundings = surroundings
  }

  /** A device with an empty disk. */
  static async make(options: AnyOptions, surroundings: Surroundings, source: () => WasmSource): Promise<Inside> {
    await loadWasm(source, () => {})
    return new Inside(options, surroundings)
  }

  /** Opens the database; the device must not have it open. */
  async open(): Promise<LocalDatabase> {
    const declaration = declare(this.#options)
    const session = new Session(declaration, this.#ground())
    const hooks: Hooks = { ...makeHooks(this.#options, { touch: () => session.touch(), appended: () => {}, ended: session.ended }), ...this.#surroundings }
    session.attach(await this.#disk.open(declaration.text, untilEnd(hooks, session.ended.signal)) as Engine)
    this.#session = session
    this.setOnline(this.#online)
    session.engine?.visible(true)
    session.asking.start(hooks.log)
    const end = async (work: (engine: Engine) => Promise<void>): Promise<void> => {
      const { engine } = session
      if (engine === null) return
      await work(engine)
      session.end()
      this.#session = null
    }
    return new LocalDatabase(session, () => end((engine) => engine.durable().then(() => engine.close())), (discard) => end((engine) => engine.destroy(discard)))
  }

  /** One page per device, so no locks; and time is the world's. */
  #ground(): AskingGround {
    const { sleep } = this.#surroundings
    return {
      after: (ms, work) => {
        let stands = true
        void sleep(ms).then(() => { if (stands) work() })
        return () => { stands = false }
      },
      locks: () => undefined,
    }
  }

  /** How many answers of the app's `onConflict` are waited for. */
  get asking(): number {
    return this.#session?.asking.underWay ?? 0
  }

  get isOpen(): boolean {
    return this.#session !== null
  }

  /** What the browser says about its network. */
  setOnline(yes: boolean): void {
    this.#online = yes
    this.#session?.engine?.online(yes)
  }

  /** The page dies now: its writes in flight land or not, and nothing of it goes on. */
  crash(lands: boolean): void {
    this.#disk.crash(lands)
    this.#session?.end()
    this.#session = null
  }
}

/** Nothing leaves a page that is gone, and nothing that it waited for comes. */
function untilEnd(hooks: Hooks, signal: AbortSignal): Hooks {
  const alive = <A extends unknown[], R>(hook: (...args: A) => Promise<R>) => (...args: A): Promise<R> => new Promise((resolve, reject) => {
    if (signal.aborted) return
    hook(...args).then((value) => { if (!signal.aborted) resolve(value) }, (error: unknown) => { if (!signal.aborted) reject(error as Error) })
  })
  const { sleep, push, pull } = hooks
  return { ...hooks, ...sleep && { sleep: alive(sleep) }, ...push && { push: alive(push) }, ...pull && { pull: alive(pull) } }
}
