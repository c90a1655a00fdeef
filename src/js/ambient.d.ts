// Modules that the build provides: the wasm-bindgen glue and the inlined wasm. Types only; nothing here is published.

declare module '#wasm' {
  /** Instantiates the module once; later calls answer at once. */
  export default function init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>
  /** Opens an engine: options as JSON text, hooks and the answer as in `engine.ts`, what was read already as in `early.ts`. */
  export function openEngine(options: string, hooks: object, early?: object): Promise<unknown>
  /** How many mutations wait in a stored database; undefined where there is none. A wipe (`wiped.ts`), as JSON text, is finished first. */
  export function pendingOf(stored: string, wipe?: string): Promise<number | undefined>
  /** Deletes a stored database. */
  export function deleteStored(stored: string): Promise<void>
  /** A disk in memory, for `homing/testing`. `crash`: who has it open dies, its writes in flight land or not. */
  export class Disk {
    open(options: string, hooks: object): Promise<unknown>
    crash(inFlightLands: boolean): void
  }
}

/** The module of `homing/testing`: a server in memory. Errors are JSON texts. */
declare module '#authority' {
  export default function init(options: { module_or_path: BufferSource }): Promise<unknown>
  export class Server {
    constructor(schema: string, scope: string)
    push(request: string, now: number): string
    pull(request: string, now: number): string
    refuse(mutation: string, message: string, path?: string): void
    rows(collection: string): string
    rev(): number
  }
}

declare module 'homing:authority-bytes' {
  export default function authorityBytes(): Uint8Array<ArrayBuffer>
}

declare module 'homing:worker-script' {
  /** The text of `worker/host.ts`, bundled. */
  export default function script(): string
}

declare module 'homing:wasm-bytes' {
  /** The inlined module as it is in the file. */
  export function base64(): string
  /** Decodes the inlined module; importing this does no work. */
  export default function wasmBytes(): Uint8Array<ArrayBuffer>
}
