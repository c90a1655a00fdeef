// How the engine's requests leave by the browser's own `fetch`. Not here: what a request says (the engine), a `fetch` that the app gave.

/** From so many characters on a body goes as a `Blob`: a draining queue is done in three quarters of the time. Below, making one costs more than it saves. */
const LARGE = 64 * 1024

/** Sends a request. A large body is handed over to the browser before; as text or bytes it would be part of a message that is copied several times on its way. */
export function request(url: string, init: RequestInit): Promise<Response> {
  const { body } = init
  return fetch(url, typeof body === 'string' && body.length >= LARGE ? { ...init, body: new Blob([body]) } : init)
}
