// Are two farm documents the same, apart from what Homing keeps in them for itself? Names the first path that differs.

/** Members that Homing adds to records; `id` is the app's own and is compared. */
const RESERVED = new Set(['_updatedAt', '_deletedAt', '_rev', '_fieldTimes', '_crdt', '_sourceId'])

/** A deep copy without reserved members; of a document also without `_conflictArchive`. */
export function stripReserved(value) {
  if (Array.isArray(value)) return value.map(stripReserved)
  if (value === null || typeof value !== 'object') return value
  const members = Object.entries(value).filter(([name]) => !RESERVED.has(name) && name !== '_conflictArchive')
  return Object.fromEntries(members.map(([name, inner]) => [name, stripReserved(inner)]))
}

/**
 * The first place where two JSON values differ, depth first, or `null`. The order of an object's members says nothing, the
 * order of an array's elements does.
 *
 * @returns {{ path: string, actual: unknown, expected: unknown } | null} `undefined` stands for a member that is not there
 */
export function firstDifference(actual, expected, path = '') {
  if (Object.is(actual, expected)) return null
  const bothObjects = [actual, expected].every((value) => value !== null && typeof value === 'object')
  if (!bothObjects || Array.isArray(actual) !== Array.isArray(expected)) return { path: path || '/', actual, expected }
  for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const at = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (!Object.hasOwn(actual, name) || !Object.hasOwn(expected, name)) {
      return { path: at, actual: own(actual, name), expected: own(expected, name) }
    }
    const difference = firstDifference(actual[name], expected[name], at)
    if (difference !== null) return difference
  }
  return null
}

function own(object, name) {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/** Throws with the first differing path unless both are the same apart from reserved members. */
export function assertSameDocument(actual, expected, what) {
  const difference = firstDifference(stripReserved(actual), stripReserved(expected))
  if (difference === null) return
  const show = (value) => value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 400)
  throw new Error(`${what}: first difference at ${difference.path}\n  is       ${show(difference.actual)}\n  expected ${show(difference.expected)}`)
}
