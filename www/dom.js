// Builds DOM nodes and keeps lists of them in step with rows. Data only ever becomes text nodes, attributes and properties:
// nothing in this demo parses HTML. What the nodes mean is the business of the other modules.

/**
 * Makes an element.
 *
 * `on…` attributes are listeners, `dataset` an object, `value` and `checked` properties, `true` an empty attribute;
 * `null`, `undefined` and `false` leave an attribute out.
 *
 * @example element('button', { type: 'button', class: 'quiet', onclick: save }, 'Save')
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else if (name === 'dataset') Object.assign(node.dataset, value)
    else if (name === 'value' || name === 'checked') node[name] = value
    else node.setAttribute(name, value === true ? '' : String(value))
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return node
}

/**
 * Keeps the children of `container` in step with a list of rows, by key: a row that stays keeps its node (and the focus
 * in it), a new one is created, a gone one removed.
 *
 * @param {Element} container holds nothing else
 * @param {{ key: (row: any) => string, create: (row: any) => { node: Element, update: (row: any) => void, remove?: () => void } }} kind
 * @returns {{ show: (rows: readonly any[]) => void, each: (work: (entry: any, key: string) => void) => void }}
 */
export function keyedList(container, { key, create }) {
  const entries = new Map()
  function show(rows) {
    const wanted = new Set(rows.map(key))
    for (const [id, entry] of entries) {
      if (wanted.has(id)) continue
      entry.node.remove()
      entries.delete(id)
    }
    let next = container.firstElementChild
    for (const row of rows) {
      let entry = entries.get(key(row))
      if (!entry) {
        entry = create(row)
        entries.set(key(row), entry)
      }
      entry.update(row)
      // Moving a node takes the focus away from it, so a node already in its place is not touched.
      if (entry.node === next) next = next.nextElementSibling
      else container.insertBefore(entry.node, next)
    }
  }
  return { show, each: (work) => entries.forEach(work) }
}

/**
 * Shows a value in an input, unless the user is typing there: the typed text stays until the field is left.
 *
 * @param {HTMLInputElement | HTMLSelectElement} input
 */
export function showValue(input, value) {
  const text = value === null || value === undefined ? '' : String(value)
  if (input.type === 'checkbox') {
    input.checked = value === true
    return
  }
  if (document.activeElement === input && input.dataset.dirty === 'true') return
  if (input.value !== text) input.value = text
}

/**
 * An input bound to one field of one record: `save` gets the new value when the user leaves the field or presses Enter.
 * An emptied number field is not saved, the old value comes back.
 *
 * @param {{ label: string, type?: string, testid?: string, options?: readonly string[], save: (value: any) => void, step?: string }} options
 */
export function fieldInput({ label, type = 'text', testid, options, save, step }) {
  const shared = { 'aria-label': label, dataset: testid ? { testid } : {} }
  const input = options
    ? element('select', shared, options.map((value) => element('option', { value }, value)))
    : element('input', { ...shared, type, step, min: type === 'number' ? '0' : null, autocomplete: 'off' })
  let shown = ''
  input.addEventListener('focus', () => { shown = input.value })
  input.addEventListener('input', () => { input.dataset.dirty = 'true' })
  input.addEventListener('change', () => {
    input.dataset.dirty = 'false'
    if (type === 'checkbox') return save(input.checked)
    if (type !== 'number') return save(input.value)
    if (Number.isFinite(input.valueAsNumber)) save(input.valueAsNumber)
    else input.value = shown
  })
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') input.blur()
    if (event.key !== 'Escape' || type === 'checkbox' || options) return
    input.value = shown
    input.dataset.dirty = 'false'
  })
  return input
}

/** A field shown with its name above it. */
export function labelled(text, input) {
  return element('label', { class: 'field' }, element('span', { class: 'field-name' }, text), input)
}

/** A time of today, or a date and time, as the reader's locale writes it; or `fallback`. */
export function formatTime(iso, fallback = '—') {
  const time = iso ? new Date(iso) : null
  if (!time || Number.isNaN(time.getTime())) return fallback
  const today = time.toDateString() === new Date().toDateString()
  return today ? time.toLocaleTimeString() : time.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
}
