// The reference server for tests: a fresh database in a temporary folder unless told otherwise, a free port unless given one.

export { startServer } from '../../scripts/support/reference-server.mjs'
