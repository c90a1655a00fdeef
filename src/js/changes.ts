// Several changes of a collection as one, so that listeners of a loop over 1,000 writes are told once; what a list of them means. Pure.

import type { Change } from './engine.js'

type Kind = 'added' | 'updated' | 'removed'

/** What became of a record, all in all. Null: nothing that anybody saw. */
function both(first: Kind | undefined, second: Kind): Kind | null {
  if (first === undefined) return second
  if (first === 'added') return second === 'removed' ? null : 'added'
  if (first === 'removed') return second === 'removed' ? 'removed' : 'updated'
  return second === 'removed' ? 'removed' : 'updated'
}

/** Joins what is of one collection and one source; the order of the rest stays. */
export function joinChanges(changes: readonly Change[]): readonly Change[] {
  if (changes.length < 2) return changes
  const joined: { change: Change; kinds: Map<string, Kind> }[] = []
  const last = new Map<string, number>()
  for (const change of changes) {
    const at = last.get(change.collection)
    const before = at === undefined ? undefined : joined[at]
    const joins = before !== undefined && before.change.source === change.source && change.all !== true && before.change.all !== true
    const into = joins ? before : { change, kinds: new Map<string, Kind>() }
    if (!joins) {
      last.set(change.collection, joined.length)
      joined.push(into)
    }
    // What the rest of them are, only the engine knows.
    if (joins && into.change.rows !== undefined) into.change = { ...into.change, rows: undefined }
    if (joins && change.renamed !== undefined) into.change = { ...into.change, renamed: [...into.change.renamed ?? [], ...change.renamed] }
    for (const kind of ['added', 'updated', 'removed'] as const) {
      for (const id of change[kind]) {
        const result = both(into.kinds.get(id), kind)
        if (result === null) into.kinds.delete(id)
        else into.kinds.set(id, result)
      }
    }
  }
  return joined.map(({ change, kinds }) => {
    const lists: { [K in Kind]: string[] } = { added: [], updated: [], removed: [] }
    for (const [id, kind] of kinds) lists[kind].push(id)
    return { ...change, ...lists }
  })
}

/** Records that were there were edited here: as many are there as before. */
export function isOnlyEdits(changes: readonly Change[]): boolean {
  const edits = ({ source, all, added, removed, renamed }: Change): boolean => source === 'local' && !all && added.length + removed.length === 0 && renamed === undefined
  return changes.length > 0 && changes.every(edits)
}
