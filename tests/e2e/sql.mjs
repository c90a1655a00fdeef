// Reads the reference server's SQLite file by SQL, in a process of its own: what a story asserts about the server must not
// come from the server. Uses whatever this machine has: Node's own SQLite (22.13 and newer), Python, or the sqlite3 program.

import { findProgram } from '../../scripts/support/environment.mjs'
import { run } from '../../scripts/support/process.mjs'

const PYTHON = `
import json, sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True, timeout=10)
db.row_factory = sqlite3.Row
print(json.dumps([dict(row) for row in db.execute(sys.stdin.read())]))
`

/**
 * The rows of one SELECT as objects.
 *
 * @param {string} file the SQLite file; the server may be running
 * @param {string} statement
 * @returns {Promise<Record<string, unknown>[]>}
 */
export async function readSql(file, statement) {
  const sqlite = await import('node:sqlite').catch(() => null)
  if (sqlite !== null) {
    const db = new sqlite.DatabaseSync(file, { readOnly: true })
    try {
      return db.prepare(statement).all()
    } finally {
      db.close()
    }
  }
  const python = findProgram('python3') ?? findProgram('python')
  if (python !== null) return parse(await run(python, ['-c', PYTHON, file], { quiet: true, input: statement }))
  const program = findProgram('sqlite3')
  if (program !== null) return parse(await run(program, ['-readonly', '-json', '-cmd', '.timeout 10000', file, statement], { quiet: true }))
  throw new Error('No way to read an SQLite file: install Python 3, the sqlite3 program, or Node 22.13 or newer.')
}

function parse({ stdout }) {
  return stdout.trim() === '' ? [] : JSON.parse(stdout)
}

/** Living rows per collection of one scope, without the conflict archive. */
export async function countServerRows(file) {
  const rows = await readSql(file, "SELECT collection, COUNT(*) AS n FROM rows WHERE deleted = 0 AND collection <> '_conflictArchive' GROUP BY collection")
  return Object.fromEntries(rows.map(({ collection, n }) => [collection, n]))
}

/**
 * Every row, as the server would send it.
 *
 * @returns {Promise<Map<string, { collection: string, id: string, deleted: boolean, record: object }>>} by `collection/id`
 */
export async function readServerRows(file) {
  const rows = await readSql(file, "SELECT collection, id, deleted, body FROM rows WHERE collection <> '_conflictArchive'")
  return new Map(rows.map(({ collection, id, deleted, body }) => [`${collection}/${id}`, { collection, id, deleted: Boolean(deleted), record: JSON.parse(body) }]))
}
