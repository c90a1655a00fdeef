#!/usr/bin/env node
// A small static file server for the demo and the tests: folders and single files under URL paths, right media types, nothing
// cached. Not for production.
//
//   node scripts/static-server.mjs FOLDER [PORT]

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, resolve, sep } from 'node:path'
import { isMain, runMain } from './support/process.mjs'

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ts': 'text/plain; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
}

/**
 * Serves folders and texts on 127.0.0.1 and resolves to `{ url, port, close }`.
 *
 * @param {{ mounts?: Record<string, string>, files?: Record<string, string | (() => string | Promise<string>)>, routes?: Record<string, import('node:http').RequestListener>, port?: number, headers?: Record<string, string> }} options
 *   `mounts`: URL prefix ending in `/` → folder, the longest prefix decides; `files`: URL path → the text itself, typed by the
 *   path's ending (html without one); `routes`: URL prefix → a function that answers itself; `port` 0 picks a free one; `headers` go
 *   with every other answer.
 * @example
 * const site = await serveStatic({ mounts: { '/': 'www', '/homing/': 'dist' }, files: { '/farm.json': '{}' } })
 */
export async function serveStatic({ mounts = {}, files = {}, routes = {}, port = 0, headers = {} }) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length)
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500)
      response.end(String(error))
    })
  })

  async function answer(request, response) {
    const route = Object.keys(routes).find((candidate) => request.url.startsWith(candidate))
    if (route !== undefined) return routes[route](request, response)
    const plain = { 'cache-control': 'no-store', ...headers }
    const refuse = (status, text) => response.writeHead(status, { ...plain, 'content-type': 'text/plain; charset=utf-8' }).end(text)
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'only GET')
    const path = decodePath(request.url)
    if (path === null) return refuse(400, 'bad path')
    if (Object.hasOwn(files, path)) {
      const content = files[path]
      const text = typeof content === 'function' ? await content() : content
      response.writeHead(200, { ...plain, 'content-type': TYPES[extname(path)] ?? TYPES['.html'] })
      return response.end(request.method === 'HEAD' ? undefined : text)
    }
    // Browsers ask for it unasked, and would log an error.
    if (path === '/favicon.ico') return response.writeHead(204, plain).end()
    const prefix = prefixes.find((candidate) => path.startsWith(candidate))
    if (prefix === undefined) return refuse(404, `nothing at ${path}`)
    const root = resolve(mounts[prefix])
    let file = resolve(root, `.${sep}${path.slice(prefix.length)}`)
    if (file !== root && !file.startsWith(root + sep)) return refuse(403, 'outside the folder')
    let found = await stat(file).catch(() => null)
    if (found?.isDirectory()) {
      file = join(file, 'index.html')
      found = await stat(file).catch(() => null)
    }
    if (!found?.isFile()) return refuse(404, `nothing at ${path}`)
    response.writeHead(200, { ...plain, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-length': found.size })
    if (request.method === 'HEAD') return response.end()
    createReadStream(file).on('error', () => response.destroy()).pipe(response)
  }

  await new Promise((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${address.port}/`,
    port: address.port,
    async close() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

/** The decoded path of a request, or `null` when it is not one. */
function decodePath(url) {
  try {
    const path = decodeURIComponent(new URL(url, 'http://localhost').pathname)
    return path.includes('\0') ? null : path
  } catch {
    return null
  }
}

async function main() {
  const [folder, port = '8788'] = process.argv.slice(2)
  if (folder === undefined || folder === '--help') return console.log('Usage: node scripts/static-server.mjs FOLDER [PORT]\n\nServes a folder on 127.0.0.1, default port 8788.')
  const site = await serveStatic({ mounts: { '/': folder }, port: Number(port) })
  console.log(site.url)
}

if (isMain(import.meta)) await runMain(main)
