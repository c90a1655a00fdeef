// Who is measured: Homing and what a user would pick instead. Their code is in `peers/`.

/**
 * - `library`: bundled with what is installed in `bench/node_modules`; the others run as they are.
 * - `durable`: false where a resolved write may be gone after a crash; shown, but nobody has to be ahead of it.
 * - `lacks`: workload → why it has no figure there.
 */
export const PEERS = [
  { name: 'homing', title: 'Homing', package: 'homing' },
  { name: 'hand-written', title: 'hand-written IndexedDB' },
  {
    name: 'local-storage', title: 'one blob in localStorage', durable: false,
    lacks: {
      'cold-open': 'what it said was stored was not on the disk when the browser was closed',
      'cold-open-50k': 'more than localStorage holds (5 MB)',
      memory: 'more than localStorage holds (5 MB)',
    },
  },
  { name: 'dexie', title: 'Dexie', library: true, package: 'dexie' },
  { name: 'rxdb', title: 'RxDB (Dexie storage)', library: true, package: 'rxdb' },
  { name: 'pouchdb', title: 'PouchDB (idb)', library: true, package: 'pouchdb-browser' },
  {
    name: 'tanstack', title: 'TanStack offline-transactions', library: true, package: '@tanstack/offline-transactions',
    lacks: { 'delta-merge': 'keeps no rows of the server: they are fetched again after each start' },
  },
]

export const SUBJECT = 'homing'
export const OPPONENT = 'hand-written'

/** Who takes part in a workload: those asked for, unless it names its own or they cannot. */
export function peersOf(workload, about, chosen) {
  return chosen.filter(({ name, lacks = {} }) => (about.peers?.includes(name) ?? true) && lacks[workload] === undefined)
}

/** Those that have to be beaten. */
export function rivals(chosen) {
  return chosen.filter(({ name, durable = true }) => name !== SUBJECT && durable).map(({ name }) => name)
}
