// Numbers made of numbers: no units, no peers, no text.

/** The `q` quantile (0 to 1) of `values`, interpolated between neighbours. NaN when there are none. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b)
  const position = (sorted.length - 1) * q
  const below = Math.floor(position)
  const above = Math.ceil(position)
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below)
}

/** Median, extremes and count. */
export function summarize(values) {
  return { median: quantile(values, 0.5), min: Math.min(...values), max: Math.max(...values), count: values.length }
}

/**
 * `ours` in units of `theirs`: the quotient of the medians, and the extremes of the quotients round by round, over the rounds that both
 * took part in.
 *
 * Values of one round were measured next to each other, so a slow minute of the machine cancels out in its quotient.
 */
export function compare(ours, theirs) {
  const rounds = Math.min(ours.length, theirs.length)
  const [a, b] = [ours.slice(0, rounds), theirs.slice(0, rounds)]
  const byRound = a.map((value, round) => value / b[round])
  return { ratio: quantile(a, 0.5) / quantile(b, 0.5), min: Math.min(...byRound), max: Math.max(...byRound) }
}

/** The order of `items` in round `round`: A B, B A, A B, …, so that no side always follows the other. */
export function interleave(items, round) {
  return round % 2 === 0 ? [...items] : [...items].reverse()
}
