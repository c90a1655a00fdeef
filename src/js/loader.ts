// Loads the wasm module once per page: lazily, shared by concurrent callers, again after a failure. Errors say what is wrong
// and what helps. Not here: which bytes (`index.ts`, `slim.ts`).

import init from '#wasm'
import { HomingError } from './errors.js'

/** Where the module can come from. */
export type WasmSource = WasmBytes | WebAssembly.Module
type WasmBytes = string | URL | Request | Response | BufferSource

const MAGIC = [0x00, 0x61, 0x73, 0x6d]
let loading: Promise<void> | null = null

/**
 * Loads and instantiates the module, unless that is done.
 *
 * @param source asked for only when the module is not there yet
 * @param check whether it can be used here
 * @throws HomingError `unsupported-environment`, `wasm-load-failed`
 */
export function loadWasm(source: () => WasmSource | Promise<WasmSource>, check = checkEnvironment): Promise<void> {
  return loading ??= instantiate(source, check).catch((error: unknown) => {
    loading = null
    throw error
  })
}

async function instantiate(source: () => WasmSource | Promise<WasmSource>, check: () => void): Promise<void> {
  check()
  const module = await compileWasm(source)
  try {
    await init({ module_or_path: module })
  } catch (cause) {
    throw failed('The module does not fit this version of the JavaScript around it. Serve the homing.wasm of the same package version.', cause)
  }
}

/** The module, for this page or for a worker of it. */
export async function compileWasm(source: () => WasmSource | Promise<WasmSource>): Promise<WebAssembly.Module> {
  return compile(await source())
}

/** @throws HomingError `unsupported-environment` where there is no browser around. */
export function checkEnvironment(): void {
  const browser = typeof window !== 'undefined' || 'WorkerGlobalScope' in globalThis
  if (browser && typeof WebAssembly === 'object') return
  const why = browser ? 'This browser has no WebAssembly (or it is switched off).' : 'openDatabase needs a browser: call it in the page, not while the page is rendered on a server.'
  throw new HomingError({ code: 'unsupported-environment', message: why, phase: 'open' })
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source
  // A Module has no members, so types cannot tell it from the rest.
  const bytes = await readBytes(source as WasmBytes)
  try {
    return await WebAssembly.compile(bytes)
  } catch (cause) {
    const blocked = cause instanceof Error && /content security policy|unsafe-eval/i.test(cause.message)
    throw failed(blocked
      ? "The page's Content-Security-Policy forbids WebAssembly. Add 'wasm-unsafe-eval' to its script-src."
      : 'The module is damaged or cut short. Serve the file as it is in the package and try again.', cause)
  }
}

async function readBytes(source: WasmBytes): Promise<BufferSource> {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return source
  const response = source instanceof Response ? source : await request(source)
  const where = response.url || 'the given Response'
  if (!response.ok) throw failed(`${where} answered HTTP ${response.status}. Serve node_modules/homing/dist/homing.wasm at that address.`)
  if (response.bodyUsed) throw failed('The given Response was read before. Pass a fresh one, or its clone().')
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = new Uint8Array(await response.arrayBuffer())
  } catch (cause) {
    throw failed(`Reading ${where} broke off. Try again.`, cause)
  }
  if (MAGIC.some((byte, at) => bytes[at] !== byte)) {
    const type = response.headers.get('content-type') ?? 'no content type'
    throw failed(`${where} is no WebAssembly (${type}). Often a dev server answers its index.html for a missing file: serve node_modules/homing/dist/homing.wasm there.`)
  }
  return bytes
}

async function request(source: string | URL | Request): Promise<Response> {
  try {
    return await fetch(source)
  } catch (cause) {
    const address = source instanceof Request ? source.url : String(source)
    throw failed(`${address} could not be fetched. Check the network, CORS and the connect-src of the page's Content-Security-Policy.`, cause)
  }
}

function failed(message: string, cause?: unknown): HomingError {
  return new HomingError({ code: 'wasm-load-failed', message, phase: 'open', retryable: true, cause })
}
