// The one error class of the package, and how foreign failures become one. Not here: what may fail; the Rust half decides
// that and sends JSON.

/**
 * What failed. A closed list: an app can branch on it. `wrong-key` and `backup-invalid` are reserved for encryption and backups, which are not
 * there yet: nothing fails with them.
 */
export type ErrorCode =
  | 'invalid-record' | 'invalid-id' | 'duplicate-id' | 'duplicate-key' | 'not-found' | 'append-only' | 'too-large' | 'queue-full'
  | 'storage-full' | 'storage-unavailable' | 'storage-lost' | 'format-too-new' | 'wrong-key' | 'blocked' | 'closed' | 'pending-work'
  | 'not-loaded' | 'options-differ' | 'offline' | 'timeout' | 'bad-response' | 'server-error' | 'rate-limited' | 'breaker-open'
  | 'paused' | 'auth-required' | 'forbidden' | 'scope-changed' | 'schema-mismatch' | 'protocol-unsupported' | 'rejected'
  | 'unsupported-environment' | 'wasm-load-failed' | 'engine-crashed' | 'backup-invalid' | 'aborted'

/** What the package was doing when it failed. */
export type Phase = 'open' | 'write' | 'push' | 'pull' | 'apply' | 'storage' | 'close'

/** What a `HomingError` is made of. */
export interface ErrorDetail {
  readonly code: ErrorCode
  readonly message: string
  readonly phase: Phase
  readonly retryable?: boolean
  readonly requestId?: string | null
  readonly path?: string | null
  readonly serverCode?: string | null
  readonly retryAt?: string | null
  readonly cause?: unknown
}

/**
 * Every rejection of this package.
 *
 * @example
 * try { await flocks.insert({ name: NaN }) } catch (error) {
 *   if (error instanceof HomingError && error.code === 'invalid-record') console.log(error.path) // "/name"
 * }
 */
export class HomingError extends Error {
  override readonly name = 'HomingError'
  readonly code: ErrorCode
  /** Whether the same call can succeed later without a change by the app. */
  readonly retryable: boolean
  readonly phase: Phase
  /** Traces one request through the logs of client and server. */
  readonly requestId: string | null
  /** JSON Pointer into the refused input, e.g. `/items/3/price`. */
  readonly path: string | null
  /** The code of the server, where it refused. */
  readonly serverCode: string | null
  /** ISO time before which another try is refused. */
  readonly retryAt: string | null
  override readonly cause: unknown

  constructor(detail: ErrorDetail) {
    super(detail.message)
    this.code = detail.code
    this.retryable = detail.retryable ?? false
    this.phase = detail.phase
    this.requestId = detail.requestId ?? null
    this.path = detail.path ?? null
    this.serverCode = detail.serverCode ?? null
    this.retryAt = detail.retryAt ?? null
    this.cause = detail.cause
  }

  /** What a log or a crash report shows. */
  toJSON(): ErrorDetail {
    const { code, message, phase, retryable, requestId, path, serverCode, retryAt } = this
    return { code, message, phase, retryable, requestId, path, serverCode, retryAt }
  }
}

/** The error of an aborted call; `cause` is the reason of the signal. */
export function abortError(signal: AbortSignal, phase: Phase): HomingError {
  return new HomingError({ code: 'aborted', message: 'The call was aborted by its signal.', phase, cause: signal.reason })
}

/** The error of a call on something closed. */
export function closedError(phase: Phase = 'write'): HomingError {
  return new HomingError({ code: 'closed', message: 'The database is closed; open it again.', phase })
}

/** Whether a value has the shape of an error sent by the engine. */
export function isErrorDetail(value: unknown): value is ErrorDetail {
  return typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'string' && 'message' in value && typeof value.message === 'string'
}

/** Makes the error out of what the engine sent as data. */
export function fromDetail(detail: ErrorDetail): HomingError {
  return new HomingError({ ...detail, phase: detail.phase ?? 'write' })
}

/**
 * Makes a `HomingError` out of whatever was thrown: the engine throws JSON text; a trap of the wasm module, or anything else,
 * means that the engine cannot go on.
 */
export function toHomingError(thrown: unknown, phase: Phase): HomingError {
  if (thrown instanceof HomingError) return thrown
  if (typeof thrown === 'string') {
    try {
      const detail: unknown = JSON.parse(thrown)
      if (isErrorDetail(detail)) return new HomingError({ ...detail, phase: detail.phase ?? phase })
    } catch {
      // Not JSON: described below.
    }
  }
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new HomingError({ code: 'engine-crashed', message: `The engine failed: ${text}. Reload the page; what was durable is safe.`, phase, cause: thrown })
}

/** Hands an exception of a callback to the page's own error reporting, after the current work. */
export function reportCallbackError(error: unknown): void {
  if (typeof reportError === 'function') reportError(error)
  else queueMicrotask(() => { throw error })
}
