// What a page loads for a peer: its module with all it imports, minified, brotli. Measured in Node (`../bundles.mjs`).

export const about = {
  title: 'what the page loads, minified, brotli',
  unit: 'kB',
  limits: [],
  rounds: { full: 1, others: 1, quick: 1 },
  node: true,
  warmUp: false,
  race: false,
}
