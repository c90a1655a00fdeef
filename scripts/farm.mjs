#!/usr/bin/env node
// A farm document as EGGlogU keeps it in localStorage (`egglogu_data`): one year of 28 flocks, about 21,000 rows, 4.5 MB, with
// the wrinkles of real data. Generated, the same on every machine; `HOMING_FARM=<file>` takes a real one instead.
//
//   node scripts/farm.mjs [FILE]     writes it to FILE, or prints the rows per collection

import { readFileSync, writeFileSync } from 'node:fs'
import { isMain, runMain } from './support/process.mjs'

const HELP = `Usage: node scripts/farm.mjs [FILE]

Writes the farm document to FILE, or prints its rows per collection.
Environment: HOMING_FARM names a document to use instead of the generated one.`

const FIRST_DAY = Date.UTC(2025, 1, 15)
const DAYS = 365
const DAY = 86_400_000

const BREEDS = ['Isa Brown', 'Lohmann Brown', 'Hy-Line W-36', 'Novogen', 'Dekalb White', 'Hisex']
const CHANNELS = ['wholesale', 'retail', 'direct', 'organic', 'export']
const FEEDS = ['Layer mash 17%', 'Crumble phase 1', 'Ground maize', 'Grower pellets', 'Layer phase 2 plus']
const FIRST_NAMES = ['Zoë', 'Íñigo', 'Łucja', 'Søren', 'Nuria', 'Wanjiru', 'Hiroshi 浩', 'Amélie', 'Kofi', 'Priya', 'Marta', 'Björn', 'Lê', 'Tomás', 'Olga', 'Deniz', 'Rasa', 'Paul', 'Aoife', 'Mehmet']
const LAST_NAMES = ['Okafor', 'Núñez', 'Kowalska', 'Lindqvist', 'Nguyễn', 'Haddad', 'Moreau', 'Petrović', 'Tanaka', 'Ferreira', 'Ó Briain', 'Schäfer', 'Mbeki', 'Rossi', 'Yılmaz', 'Castillo', 'Novák', 'Sharma']
const STREETS = ['Mill Lane', 'Station Road', 'Calle del Río', 'Rue des Écoles', 'Hauptstraße', 'Harbour View']
const TOWNS = ['Elmswell', 'Cuenca', 'Gävle', 'Łódź', 'Nakuru', 'Saint-Malo']
const ROUTES = ['North', 'South', 'Hills', 'Coast', 'Market', 'Old town', 'Valley', 'Airport']
const SIZES = ['S', 'M', 'L', 'XL', 'Jumbo']
const TASKS = ['Drinkers flushed', 'Feeders filled', 'Eggs collected', 'Dead birds removed', 'Climate read', 'Fans checked']

/** The farm document as a fresh object: the file that HOMING_FARM names, else the generated one. */
export function loadFarm() {
  return JSON.parse(farmText())
}

/** The same as JSON text, as localStorage holds it. */
export function farmText() {
  const file = process.env.HOMING_FARM
  return file ? readFileSync(file, 'utf8') : JSON.stringify(generateFarm())
}

/**
 * Rows per collection (containers by dotted path) of a farm document; singletons are left out.
 *
 * @param {object} farm
 * @returns {Record<string, number>}
 */
export function countRows(farm, prefix = '') {
  const counts = {}
  for (const [name, value] of Object.entries(farm)) {
    if (Array.isArray(value)) counts[prefix + name] = value.length
    else if (isContainer(value)) Object.assign(counts, countRows(value, `${prefix}${name}.`))
  }
  return counts
}

function isContainer(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && Object.values(value).every((inner) => Array.isArray(inner) || isContainer(inner))
}

/** The generated document; equal on every call. */
export function generateFarm(seed = 20250215) {
  const any = dice(seed)
  const zones = ['House A', 'Feed store', 'Quarantine', 'Loading yard'].map((name, i) => ({
    id: any.id(), name, type: ['production', 'storage', 'quarantine', 'loading'][i], lastDisinfection: day(DAYS - 1 - i), frequencyDays: [14, 30, 7, 7][i], status: 'active',
  }))
  const flocks = any.rows(28, (i) => ({
    name: `Layer Group ${i + 1}${i % 9 === 4 ? ' · Ñandú 🐔' : ''}`, breed: any.of(BREEDS), count: any.int(380, 760), birthDate: day(-any.int(180, 420)), status: 'produccion',
    source: any.of(['local', 'import', 'hatchery']), cost: any.float(3200, 5600), targetCurve: 'generic', notes: i % 2 === 0 ? 'Under the vet’s programme' : 'Own programme', vetGroup: i % 2 === 0, curveAdjust: any.float(0.93, 1.09),
  }))
  const clients = any.rows(1000, (i) => {
    const price = any.int(11, 24) / 100
    return {
      name: `${any.of(FIRST_NAMES)} ${any.of(LAST_NAMES)}`, phone: `+55${any.int(1000000, 9999999)}`, email: `buyer${i + 1}@example.org`, route: any.of(ROUTES), address: `${any.int(1, 9999)} ${any.of(STREETS)}, ${any.of(TOWNS)}`,
      priceS: cents(price), priceM: cents(price * 1.15), priceL: cents(price * 1.3), priceXL: cents(price * 1.45), priceJumbo: cents(price * 1.6), notes: i < 500 ? 'Buys vet-controlled' : 'Buys any', marketChannel: any.of(CHANNELS), vetGroup: i < 500,
    }
  })
  const income = any.rows(2323, (i) => sale(any, i, clients))
  return {
    flocks,
    dailyProduction: any.rows(28 * DAYS, (i) => production(any, flocks[Math.floor(i / DAYS)], i % DAYS)),
    vaccines: any.rows(668, (i) => ({
      flockId: flocks[i % 28].id, name: any.of(['Marek', 'Newcastle', 'Bronchitis', 'Gumboro', 'Fowl pox', 'Coryza']), dateApplied: day(any.int(0, DAYS)), dateDue: day(any.int(0, DAYS)), status: 'applied',
      method: any.of(['spray', 'water', 'injection', 'eye_drop']), coverage: any.float(90, 100), notes: i % 2 === 0 ? 'Vet present' : 'By own staff',
    })),
    medications: any.rows(1, () => ({ flockId: flocks[9].id, name: 'Doxycycline', dateStart: day(201), dateEnd: day(207), dosage: '0.8 ml/L', route: 'water', withdrawalDays: 9, notes: 'Recipe 17/B' })),
    outbreaks: any.rows(1, () => ({ flockId: flocks[9].id, date: day(200), disease: 'Coryza', affectedCount: 64, deaths: 0, status: 'controlled', treatment: 'Separated, treated by water', notes: 'Over within three days' })),
    feed: {
      purchases: any.rows(35, (i) => ({ date: day(i * 10), type: any.of(FEEDS), quantityKg: any.int(900, 1300), cost: any.int(320, 480), supplier: any.of(['Moulin Réuni', 'GrainCo', 'Silo 5']) })),
      consumption: any.rows(28 * 53, (i) => ({ flockId: flocks[i % 28].id, date: day(Math.floor(i / 28) * 7), quantityKg: any.int(2500, 6500) / 10, type: any.of(FEEDS) })),
    },
    clients,
    finances: {
      income,
      expenses: any.rows(156, (i) => ({ date: day(any.int(0, DAYS)), category: any.of(['transport', 'labor', 'energy', 'veterinary']), description: 'Paid by transfer', amount: any.float(20, 900), notes: i % 3 === 0 ? `Route ${any.of(ROUTES)}` : '' })),
      receivables: [],
    },
    environment: any.rows(DAYS, (i) => ({ date: day(i), temperature: any.int(80, 310) / 10, humidity: any.int(35, 92), lightHours: any.float(14, 16), ammoniaLevel: any.float(5, 24), ventilation: any.of(['natural', 'tunnel', 'forced', 'mixed']), notes: '' })),
    logbook: any.rows(90, (i) => ({ date: day(i * 4), category: any.of(['observation', 'maintenance', 'incident', 'visit']), title: any.of(['Fans cleaned', 'Birds calm', 'Belt repaired', 'Light timer moved']), description: 'Written at the evening round', author: any.of(FIRST_NAMES) })),
    settings: { minFeedStock: 120, maxMortality: 4, alertDaysBefore: 3, defaultChecklist: TASKS, fontScale: 'normal', darkMode: false, campoMode: false, vetMode: false, taxRate: 13, depreciationYears: 8, assetValue: 61000 },
    farm: {
      name: 'Granja El Molino Ñ', location: 'Valle de Ayora, España', capacity: 21000, currency: '€', lat: 39.058, lng: -1.057, owmApiKey: '', mqttBroker: '', mqttUser: '', mqttPass: '', mqttTopicPrefix: 'egglogu/',
      houses: [{ name: 'House A', places: 9000, fans: [4, 4] }, { name: 'House B', places: 12000, fans: [] }], contact: { phone: null, hours: { from: '06:30', to: '15:00' } },
    },
    kpiSnapshots: any.rows(53, (i) => ({ date: day(i * 7), activeHens: 15500 - i * 40, henDay: any.int(600, 800) / 10, fcr: any.int(180, 320) / 100, mortality: any.int(0, 9) / 10, costPerEgg: any.int(0, 9) / 1000, netIncome: any.int(0, 1500000) / 100, weeklyEggs: any.int(60000, 82000), weeklyIncome: any.int(0, 1500000) / 100, weeklyExpense: any.int(0, 30000) / 100 })),
    biosecurity: {
      zones,
      visitors: any.rows(66, (i) => ({ date: day(i * 5), name: `${any.of(FIRST_NAMES)} ${any.of(LAST_NAMES)}`, company: any.of(['AgriVet', 'GrainCo', 'Inspection']), purpose: any.of(['delivery', 'inspection', 'purchase']), vehiclePlate: `${any.int(100, 999)}-QX${any.int(1, 9)}`, disinfected: any.int(0, 9) > 0, notes: '' })),
      disinfections: any.rows(136, (i) => ({ date: day(i * 2), zoneId: zones[i % 4].id, zoneName: zones[i % 4].name, product: any.of(['Peracetic acid 1%', 'Quaternary 0.5%']), method: any.of(['foam', 'spray', 'fog']), notes: '' })),
    },
    traceability: { batches: [], codes: [] },
    personnel: any.rows(4, (i) => ({ name: `${FIRST_NAMES[i]} ${LAST_NAMES[i]}`, role: ['worker', 'worker', 'driver', 'vet'][i], phone: `+4455500${i}`, startDate: day(-90 * i - 30), salary: [520, 540, 610, 0][i], status: 'active' })),
    planning: [],
    weatherCache: [],
    checklist: any.rows(51, (i) => ({ date: day(i * 7), shift: 'morning', items: TASKS.map((task) => ({ task, done: any.int(0, 20) > 0 })), user: any.of(FIRST_NAMES), notes: '' })),
    inventory: inventory(any, income),
    auditLog: audit(any),
    users: any.rows(6, (i) => ({ name: `${FIRST_NAMES[i + 4]} ${LAST_NAMES[i + 4]}`, role: ['owner', 'manager', 'manager', 'worker', 'worker', 'vet'][i], pin: String(7000 + i * 111), created: day(0) })),
  }
}

function production(any, flock, dayIndex) {
  const eggs = any.int(40, Math.floor(flock.count * 0.95))
  const [s, m, l, xl] = [0.1, 0.31, 0.37, 0.18].map((share) => Math.round(eggs * share))
  const deaths = any.int(0, 40) === 0 ? 1 : 0
  return {
    flockId: flock.id, date: day(dayIndex), eggsCollected: eggs, eggsBroken: any.int(0, 12), eggsS: s, eggsM: m, eggsL: l, eggsXL: xl, eggsJumbo: Math.max(0, eggs - s - m - l - xl), deaths,
    deathCause: deaths === 0 ? '' : any.of(['heat', 'predator', 'disease', 'unknown']), eggType: 'conventional', marketChannel: 'wholesale', yolkScore: any.int(6, 10), shellColor: any.of(['marron', 'crema', 'blanco']), notes: '',
  }
}

/** Some sales have no `clientName`: rows of one collection do not all have the same fields. */
function sale(any, i, clients) {
  const client = clients[any.int(0, 461)]
  const manure = i % 45 === 44
  return {
    date: day(Math.floor((i * DAYS) / 2323)), type: manure ? 'manure' : 'eggs', quantity: any.int(80, 1500), unitPrice: any.int(11, 34) / 100, eggType: manure ? '' : any.of(SIZES), marketChannel: client.marketChannel, clientId: client.id,
    ...(manure ? { notes: 'Manure, weekly' } : { clientName: client.name, notes: '' }),
  }
}

/** Daily stock in, one row out per sale, and one id used twice for different facts. */
function inventory(any, income) {
  const rows = any.rows(4096, (i) => {
    const sold = i % 2 === 1 ? income[(i - 1) / 2] : undefined
    return sold === undefined
      ? { date: day(i % DAYS), flockId: '', eggType: any.of(SIZES), qtyIn: any.int(200, 2400), qtyOut: 0, source: 'production', ref: '' }
      : { date: sold.date, flockId: '', eggType: sold.eggType, qtyIn: 0, qtyOut: sold.quantity, source: 'sale', ref: sold.id }
  })
  rows[3100] = { ...rows[3100], id: rows[1203].id }
  return rows
}

/** Rows without ids; a few are equal to the row before in every field, and are two facts all the same. */
function audit(any) {
  const rows = []
  for (let i = 0; i < 444; i += 1) {
    const action = any.of(['create', 'update', 'delete'])
    rows.push(i % 60 === 59 ? { ...rows[i - 1] } : {
      ts: new Date(FIRST_DAY + (DAYS - Math.floor(i / 4)) * DAY + (i % 4) * 7_200_000).toISOString(), user: any.of(FIRST_NAMES), action, module: any.of(['production', 'income', 'vaccines', 'settings', 'flocks']),
      detail: action === 'create' ? `Row entered for ${day(DAYS - Math.floor(i / 4))}` : 'Row changed', before: null, after: i % 50 === 7 ? { notes: 'Tür geprüft ✓', tags: [] } : null,
    })
  }
  return rows
}

function day(index) {
  return new Date(FIRST_DAY + index * DAY).toISOString().slice(0, 10)
}

function cents(value) {
  return Math.round(value * 100) / 100
}

/** Seeded randomness (mulberry32): ids, choices, rows. */
function dice(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  const used = new Set()
  const self = {
    int: (low, high) => low + Math.floor(next() * (high - low)),
    float: (low, high) => low + next() * (high - low),
    of: (list) => list[Math.floor(next() * list.length)],
    id() {
      const id = Math.floor(next() * 4294967296).toString(16).padStart(8, '0')
      if (used.has(id)) return self.id()
      used.add(id)
      return id
    },
    rows: (count, make) => Array.from({ length: count }, (_, i) => ({ id: self.id(), ...make(i) })),
  }
  return self
}

async function main() {
  const [file] = process.argv.slice(2)
  if (file === '--help') return console.log(HELP)
  const text = farmText()
  if (file !== undefined) return writeFileSync(file, text)
  const counts = countRows(JSON.parse(text))
  for (const [name, count] of Object.entries(counts)) console.log(`${String(count).padStart(6)}  ${name}`)
  console.log(`${String(Object.values(counts).reduce((a, b) => a + b, 0)).padStart(6)}  rows, ${Buffer.byteLength(text)} bytes`)
}

if (isMain(import.meta)) await runMain(main)
