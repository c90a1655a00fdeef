// Serves the benchmark's pages and the built package to the browser, and nothing else.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}
const FOLDERS = ['/bench/', '/dist/']

/**
 * Starts a server for `root` on a free port of 127.0.0.1.
 *
 * Resolves to `{ origin(name), close() }`. Each name has an origin of its own (`http://<name>.localhost:<port>`), and
 * with it storage of its own: what one peer leaves behind for IndexedDB to tidy up does not slow another one down.
 */
export async function serve(root) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname))
    const type = TYPES[extname(path)]
    if (type === undefined || !FOLDERS.some((folder) => path.startsWith(folder))) {
      response.writeHead(404).end()
      return
    }
    try {
      const body = await readFile(join(root, path))
      response.writeHead(200, {
        'content-type': type,
        // As hashed assets are served in production: a returning visitor has them, and the browser keeps compiled code.
        'cache-control': 'public, max-age=86400, immutable',
        // Cross-origin isolation makes `performance.now()` exact to 5 µs instead of 100 µs.
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
      }).end(body)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  return {
    origin: (name) => `http://${name}.localhost:${port}`,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}
