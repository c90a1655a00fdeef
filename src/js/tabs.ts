// The rest of the browser around one database: other tabs that write to it, the page coming and going, the network. All of it
// are hints; where the browser lacks one, nothing breaks. Not here: what a hint leads to (the engine).

import type { Declaration } from './options.js'
import type { Session } from './session.js'
import { Pen } from './pen.js'
import { Turns } from './turns.js'

const FRAME_MS = 16
/** What a tab says while it has the turn to send; a number is how far it wrote. */
const ALIVE = 'alive'

export class Tabs {
  readonly turns: Turns
  readonly pen: Pen
  readonly #name: string
  readonly #session: Session
  #channel: BroadcastChannel | null = null
  #head: number | null = null
  /** Another tab wrote before the engine was there. */
  #missed = false

  constructor({ name, scope }: Declaration, session: Session) {
    this.#name = `homing:${JSON.stringify([name, scope])}`
    this.#session = session
    this.pen = new Pen(session)
    this.turns = new Turns(`homing:turn:${JSON.stringify([name, scope])}`, () => this.#say(ALIVE), session.ended.signal)
  }

  /** Hears other tabs until the session ends; what they write before the engine is there, it reads at the start. */
  listen(): void {
    this.#openChannel()
    this.#session.ended.signal.addEventListener('abort', () => this.#closeChannel(), { once: true })
  }

  /** The engine is there: it hears of the page until the session ends. */
  start(): void {
    const { signal } = this.#session.ended
    if (this.#missed) this.#catchUp()
    this.#setOnline()
    this.#setVisible()
    const listen = (target: EventTarget | undefined, type: string, react: (event: Event) => void): void => target?.addEventListener?.(type, react, { signal })
    listen(globalThis, 'online', () => this.#setOnline())
    listen(globalThis, 'offline', () => this.#setOnline())
    listen(globalThis.document, 'visibilitychange', () => {
      this.#setVisible()
      if (document.visibilityState === 'visible') this.#catchUp()
    })
    // A page in the back/forward cache hears nothing: it lets go of everything that others may wait for, or that would keep it out
    // of there, and looks when it comes back.
    listen(globalThis, 'pagehide', (event) => {
      if (!(event as PageTransitionEvent).persisted) return
      this.#closeChannel()
      this.turns.release()
      this.#session.engine?.letGo()
    })
    listen(globalThis, 'pageshow', (event) => {
      if (!(event as PageTransitionEvent).persisted) return
      this.#openChannel()
      this.#setVisible()
      this.#setOnline()
      this.#catchUp()
    })
  }

  /** This tab has appended to the journal. Others hear of it once per frame at most, after those who wait for the write here. */
  tell(head: number): void {
    const telling = this.#head !== null
    this.#head = head
    if (!telling) setTimeout(() => this.#post(), FRAME_MS)
    this.#session.room.written()
  }

  #post(): void {
    const head = this.#head
    if (head === null) return
    this.#head = null
    this.#say(head)
  }

  #say(message: number | typeof ALIVE): void {
    try {
      this.#channel?.postMessage(message)
    } catch {
      // Closed by the browser meanwhile; other tabs look when they become visible.
    }
  }

  #openChannel(): void {
    if (this.#channel !== null || typeof BroadcastChannel === 'undefined') return
    try {
      this.#channel = new BroadcastChannel(this.#name)
    } catch {
      // Refused, as Firefox does where site data is blocked: as where there is none.
      return
    }
    this.#channel.onmessage = ({ data }) => {
      if (data === ALIVE) this.turns.heard()
      else if (!this.pen.hear(data)) this.#catchUp()
    }
  }

  #closeChannel(): void {
    this.#post()
    this.#channel?.close()
    this.#channel = null
  }

  #setOnline(): void {
    this.#session.engine?.online(globalThis.navigator?.onLine !== false)
  }

  #setVisible(): void {
    this.#session.engine?.visible(globalThis.document?.visibilityState !== 'hidden')
  }

  #catchUp(): void {
    const { engine } = this.#session
    this.#missed = engine === null
    if (engine === null) return
    this.#session.during(engine.catchUp()).catch((thrown: unknown) => {
      // It closed meanwhile, or storage failed: the next write or cycle meets that again and reports it.
      this.#session.failure(thrown, 'storage')
    })
  }
}
