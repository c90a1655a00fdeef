// The data every workload writes: daily production rows of an egg farm, 13 fields, about 350 bytes as JSON.
//
// Lives here: the generator and the comparison. Record `i` depends on `i` alone, so a page that opens a database in
// a new process can make the expected record again and needs nothing from the page that wrote it.
// Not here: anything that knows a peer, a database or a clock.

const PHRASES = [
  'nest boxes emptied twice', 'two cracked trays set aside', 'fan three runs hot', 'water pressure low at noon',
  'litter turned over', 'feed line cleaned', 'vet took samples', 'light program changed', 'soft shells in row four',
  'calm flock', 'door sensor replaced', 'pallet left for the packing station',
]
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const EPOCH = Date.UTC(2024, 2, 1)
const DAY = 86_400_000

/** 32-bit random numbers from a seed (the "splitmix32" mixer). */
function random(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
}

function uuid(next) {
  let text = ''
  for (let word = 0; word < 4; word += 1) {
    const bits = next()
    for (let shift = 24; shift >= 0; shift -= 8) text += HEX[(bits >>> shift) & 255]
  }
  const variant = '89ab'[next() & 3]
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-4${text.slice(13, 16)}-${variant}${text.slice(17, 20)}-${text.slice(20)}`
}

/**
 * Record number `i`.
 *
 * It carries no reserved field except `id`: Homing stamps `_updatedAt` itself, and a peer that keeps no stamp is
 * not charged for one.
 */
export function makeRecord(i) {
  const next = random(i + 1)
  const between = (low, high) => low + (next() % (high - low + 1))
  const day = EPOCH + between(0, 600) * DAY
  return {
    id: uuid(next),
    date: new Date(day).toISOString().slice(0, 10),
    flockId: `flock-${HEX[between(1, 30)]}`,
    houseId: `house-${between(1, 12)}`,
    eggsCollected: between(800, 6400),
    eggsBroken: between(0, 120),
    mortality: between(0, 7),
    feedKg: between(900, 9800) / 10,
    waterL: between(1800, 19000) / 10,
    notes: `${PHRASES[between(0, PHRASES.length - 1)]}; ${PHRASES[between(0, PHRASES.length - 1)]}`,
    createdBy: `worker-${HEX[between(1, 60)]}@farm.example`,
    recordedAt: new Date(day + between(0, DAY - 1)).toISOString(),
    verifiedBy: null,
  }
}

/** Records `from` up to, not including, `from + count`. */
export function makeRecords(count, from = 0) {
  return Array.from({ length: count }, (_, offset) => makeRecord(from + offset))
}

/**
 * Reads every field of every row, so that a peer which decodes late decodes now.
 *
 * Returns a number that depends on all of them; callers compare it, which also keeps the loop from being optimised away.
 */
export function touchRecords(rows) {
  let sum = 0
  for (const row of rows) {
    sum += row.id.length + row.date.length + row.flockId.length + row.houseId.length + row.eggsCollected
    sum += row.eggsBroken + row.mortality + row.feedKg + row.waterL + row.notes.length + row.createdBy.length
    sum += row.recordedAt.length + (row.verifiedBy === null ? 1 : 0)
  }
  return Math.round(sum)
}

/**
 * Throws unless `rows` are exactly the records `0 .. count`, in any order.
 *
 * Fields that begin with `_` or `$` belong to the peer and are skipped; every other difference, an extra field included, is
 * an error that names the record and the field.
 */
export function verifyRecords(rows, count) {
  if (rows.length !== count) throw new Error(`expected ${count} records, read ${rows.length}`)
  const byId = new Map(rows.map((row) => [row.id, row]))
  for (let i = 0; i < count; i += 1) {
    const expected = makeRecord(i)
    const row = byId.get(expected.id)
    if (row === undefined) throw new Error(`record ${i} (${expected.id}) is missing`)
    for (const [field, value] of Object.entries(expected)) {
      if (row[field] !== value) {
        throw new Error(`record ${i}: ${field} is ${JSON.stringify(row[field])}, expected ${JSON.stringify(value)}`)
      }
    }
    for (const field of Object.keys(row)) {
      if (!/^[_$]/.test(field) && !(field in expected)) throw new Error(`record ${i} has a foreign field ${field}`)
    }
  }
}
