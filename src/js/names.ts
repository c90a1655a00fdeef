// What the browser's storage calls a database: its name and scope in one text, and back.

const PREFIX = 'homing:'

/** The colon between the two is escaped inside them: no name and scope meet another pair. */
export function storedName(name: string, scope: string): string {
  return scope === '' ? PREFIX + escape(name) : `${PREFIX}${escape(name)}:${escape(scope)}`
}

/** The name and scope of a stored name; `null` where the database is somebody else's. */
export function parseStoredName(stored: string): { readonly name: string; readonly scope: string } | null {
  if (!stored.startsWith(PREFIX)) return null
  const [name, scope = '', ...more] = stored.slice(PREFIX.length).split(':').map((part) => part.replaceAll('%3A', ':').replaceAll('%25', '%'))
  return name === undefined || more.length > 0 ? null : { name, scope }
}

function escape(part: string): string {
  return part.replaceAll('%', '%25').replaceAll(':', '%3A')
}
