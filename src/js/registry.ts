// When which database was opened last, in `localStorage`: for lists shown to people, and to tell a new database from one that the
// browser has deleted. No data depends on it.

const KEY = 'homing:opened'

interface Opened { readonly name: string; readonly scope: string; readonly at: string }

export function openedBefore(): readonly Opened[] {
  try {
    const list: unknown = JSON.parse(globalThis.localStorage?.getItem(KEY) ?? '[]')
    return Array.isArray(list) ? list.filter(isOpened) : []
  } catch {
    // No storage here, or not ours.
    return []
  }
}

export function noteOpened(name: string, scope: string): void {
  save([...others(name, scope), { name, scope, at: new Date().toISOString() }])
}

export function forgetOpened(name: string, scope: string): void {
  save(others(name, scope))
}

function others(name: string, scope: string): Opened[] {
  return openedBefore().filter((one) => one.name !== name || one.scope !== scope)
}

function save(list: readonly Opened[]): void {
  try {
    globalThis.localStorage?.setItem(KEY, JSON.stringify(list))
  } catch {
    // Full or forbidden.
  }
}

function isOpened(value: unknown): value is Opened {
  return typeof value === 'object' && value !== null && ['name', 'scope', 'at'].every((key) => typeof (value as { [key: string]: unknown })[key] === 'string')
}
