// What counts as the same version, whatever the order of its members. Not here: which of two wins (the server's).

/** What the app wrote. */
export function content(row) {
  return Object.fromEntries(Object.entries(row ?? {}).filter(([name]) => !name.startsWith('_')).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** When each pointer was written: what the default says already is left out (`tests/fixtures/merge/README.md`). */
export function times({ _fieldTimes: own = {}, _updatedAt }) {
  const { '': written = _updatedAt, ...others } = own
  const told = Object.entries(others).map(([pointer, stamp]) => [pointer, Date.parse(stamp)]).filter(([, stamp]) => stamp !== Date.parse(written))
  return { '': Date.parse(written), ...Object.fromEntries(told) }
}

/** All of a version but its number, to be compared. */
export function version(row) {
  return { content: content(row), at: Date.parse(row._updatedAt), deleted: row._deletedAt == null ? null : Date.parse(row._deletedAt), times: times(row) }
}
