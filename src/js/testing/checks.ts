// What the author of a test got wrong: said at once, because a fault that is misspelt never happens, and the test passes.

/** These names and no others. */
export function known(what: string, given: object, names: readonly string[]): void {
  const stranger = Object.keys(given).find((name) => !names.includes(name))
  if (stranger !== undefined) throw new TypeError(`No such ${what}: ${stranger}. There are: ${names.join(', ')}`)
}

export function chance(what: string, value: unknown): void {
  if (value !== undefined && !(typeof value === 'number' && value >= 0 && value <= 1)) throw new TypeError(`${what} is a chance from 0 to 1, not ${String(value)}`)
}

export function whole(what: string, value: unknown, least: number): void {
  if (!(Number.isSafeInteger(value) && (value as number) >= least)) throw new TypeError(`${what} is a whole number from ${least} on, not ${String(value)}`)
}

/** Milliseconds; time does not run backwards. */
export function span(what: string, ms: unknown): void {
  if (!(typeof ms === 'number' && ms >= 0 && ms < Infinity)) throw new TypeError(`${what} is a number of milliseconds from 0 on, not ${String(ms)}`)
}
