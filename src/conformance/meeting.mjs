// Two versions of one record meet on the server, as a golden vector has them: what comes of it, and what is said of it.

import { deepStrictEqual as same, ok } from 'node:assert'
import { content, times } from './versions.mjs'

const without = (version) => {
  const { id: _, ...rest } = content(version)
  return rest
}
const text = (version) => JSON.stringify(without(version))

/**
 * One version is stored, the other comes from somebody who has not seen it.
 *
 * @param {{ name: string, policy: string, typed: boolean }} collection
 * @param {import('./declared.mjs').Vector} vector
 */
export async function meet(run, reader, collection, name, { name: about, base, winner, archived, ...versions }, first, second) {
  const [a, b] = [run.device(`a-${name}`), run.device(`b-${name}`)]
  const id = run.id(name)
  const version = (device, op, { id: _, _updatedAt, ...fields }, more) => {
    const mutation = device.mutation(op, id, fields, { collection: collection.name, ...more })
    return { ...mutation, updatedAt: _updatedAt, record: { ...mutation.record, _updatedAt } }
  }
  const [stored] = await a.push(version(a, 'create', first))
  const texts = Object.entries(base ?? {}).filter(([field, value]) => typeof value === 'string' && !['id', '_updatedAt'].includes(field))
  const was = base === undefined ? {} : { was: Object.fromEntries(texts.map(([field, value]) => [`/${field}`, value])) }
  // Where fields merge one by one a device says which it changed, removals too.
  const changed = Object.keys(second._fieldTimes ?? {}).filter((pointer) => pointer !== '')
  const [met] = await b.push(version(b, 'update', second, { baseRev: stored.rev - 1, ...was, ...changed.length > 0 ? { changed } : {} }))
  const what = `${collection.name.replace('conformance.', '')}: ${about}`
  const expected = verdict(collection, first, second, winner, archived.length > 0)
  ok(expected.statuses.includes(met.status), `${what}: answered ${met.status} ${met.code ?? ''} ${met.message ?? ''}, not ${expected.statuses.join(' or ')}`)
  // `client-wins`: the device goes on from the version it met, later than that.
  const again = met.status === 'conflict' && expected.winner === 'mine'
  if (again) {
    const [{ status }] = await b.push(version(b, 'update', { ...second, _updatedAt: winner._updatedAt }, { baseRev: stored.rev }))
    same(status, 'applied', `${what}: sent again above the version it met`)
  }
  await reader.pull()
  const row = reader.row(id, collection.name)
  same(without(row), without(winner), `${what}: another version came of it`)
  // What no person sees decides the next merge.
  same(row._crdt ?? {}, winner._crdt ?? {}, `${what}: its _crdt`)
  if (collection.policy === 'fields') same(effective(row, winner, changed.length > 0), effective(winner, row, changed.length > 0), `${what}: its _fieldTimes`)
  // What brings no news is no new version, and neither is what only counts (R19): there a row may keep its stamp.
  const news = text(first) !== text(row)
  if (!again && !collection.typed && news) same(row._updatedAt, winner._updatedAt, `${what}: its stamp`)
  const entries = reader.archive(id, collection.name)
  same(entries.map(({ status }) => status), entries.map(() => expected.entry), `${what}: the status of what is in the archive`)
  if (expected.winner !== undefined) same(entries.map((entry) => entry.winner), entries.map(() => expected.winner), `${what}: the winner in the archive`)
  same([met.archived?.id, met.archived?.status], [entries[0]?.id, entries[0]?.status], `${what}: the result has the entry that is in the archive`)
  const kept = entries.flatMap(({ mine, theirs }) => [mine, theirs]).map(text)
  for (const lost of again ? [] : archived) ok(kept.includes(text(versions[lost])), `${what}: ${lost} is not in the archive`)
  if (archived.length === 0) same(entries.length, 0, `${what}: nothing was lost, yet something is in the archive`)
}

/** What is said of it: the statuses that fit, the status of the archive entry, and whose version it says is stored, where that is one's. */
function verdict({ policy, typed }, first, second, winner, lost) {
  if (typed) return { statuses: ['applied', 'merged', 'superseded'], entry: 'automatic' } // never a question, and never silent: `archived`
  if (text(first) === text(second)) return { statuses: ['applied'] }
  const mine = text(winner) === text(second)
  if (policy === 'fields') return { statuses: mine ? ['applied', 'merged'] : ['merged', ...lost && text(winner) === text(first) ? ['superseded'] : []], entry: 'automatic' }
  if (policy === 'lww') return { statuses: mine ? ['applied', 'merged'] : ['superseded'], entry: 'automatic', winner: mine ? 'mine' : 'theirs' }
  return { statuses: ['conflict'], entry: policy === 'manual' ? 'unresolved' : 'automatic', winner: policy === 'client-wins' ? 'mine' : 'theirs' }
}

/** When everything that one of two versions has was written. The default counts only where a device said what it changed: a whole one is patched. */
function effective(one, other, patched) {
  const own = times(one)
  const leaves = Object.keys(content(one)).filter((name) => name !== 'id' && (typeof one[name] !== 'object' || Array.isArray(one[name])))
  const pointers = [...Object.keys(own), ...Object.keys(times(other)), ...leaves.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`)]
  const counting = [...new Set(pointers)].filter((pointer) => pointer !== '' || patched).sort()
  return Object.fromEntries(counting.map((pointer) => [pointer, own[pointer] ?? own['']]))
}
