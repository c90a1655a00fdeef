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

/** Puts the focus where nothing can be typed or pressed: on a row, on a heading. */
export function focusOn(node) {
  node.tabIndex = -1
  node.focus()
}

/** Whether somebody can see it: it may be on another tab, or gone. */
export function isShown(node) {
  return node.getClientRects().length > 0
}

/**
 * Keeps the children of `container` in step with a list of rows, by key: a row that stays keeps its node (and the focus
 * in it), a new one is created, a gone one removed. The focus of one that goes passes to the row in its place, or to `heading`.
 *
 * @param {Element} container holds nothing else
 * @param {{ key: (row: any) => string, create: (row: any) => { node: Element, update: (row: any) => void }, heading: HTMLElement }} kind
 * @returns {{ show: (rows: readonly any[]) => void, each: (work: (entry: any, key: string) => void) => void, focus: (key: string) => void }}
 *   `focus` on a row, where it is shown
 */
export function keyedList(container, { key, create, heading }) {
  const entries = new Map()
  function show(rows) {
    const wanted = new Set(rows.map(key))
    const before = [...container.children]
    let focusedAt = -1
    for (const [id, entry] of entries) {
      if (wanted.has(id)) continue
      if (entry.node.contains(document.activeElement)) focusedAt = before.indexOf(entry.node)
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
    if (focusedAt >= 0) focusOn(container.children[focusedAt] ?? container.lastElementChild ?? heading)
  }
  function focus(id) {
    const node = entries.get(id)?.node
    if (node && isShown(node)) focusOn(node)
  }
  return { show, each: (work) => entries.forEach(work), focus }
}

/**
 * An input bound to one field of one record.
 *
 * `save` gets the new value when the user leaves the field or presses Enter, which stays in it; `refuse` is told why a value cannot be one. An emptied
 * number field is not saved. Whatever is not saved gives way to the record's value.
 *
 * @param {{ label: string, type?: string, testid?: string, options?: readonly string[], step?: string, save: (value: any) => Promise<boolean>, refuse: (why: string) => void }} options
 *   `save` resolves to whether it went well
 * @returns {{ node: HTMLInputElement | HTMLSelectElement, show: (value: any) => void }} `show` the record's value, whenever it may have
 *   changed: text that is being typed stays until the field is left
 */
export function fieldInput({ label, type = 'text', testid, options, step, save, refuse }) {
  const shared = { 'aria-label': label, dataset: testid ? { testid } : {} }
  const node = options
    ? element('select', shared, options.map((value) => element('option', { value }, value)))
    : element('input', { ...shared, type, step, min: type === 'number' ? '0' : null, autocomplete: 'off' })
  let current
  let isTyping = false
  function show(value) {
    current = value
    if (!isTyping) showCurrent()
  }
  function showCurrent() {
    isTyping = false
    const text = current === null || current === undefined ? '' : String(current)
    if (type === 'checkbox') node.checked = current === true
    else if (node.value !== text) node.value = text
  }
  node.addEventListener('input', () => { isTyping = true })
  node.addEventListener('change', async () => {
    isTyping = false
    if (!node.checkValidity()) {
      refuse(`${node.getAttribute('aria-label')}: ${node.validationMessage}`)
      return showCurrent()
    }
    const value = type === 'checkbox' ? node.checked : type === 'number' ? node.valueAsNumber : node.value
    const isSaved = !Number.isNaN(value) && await save(value)
    if (!isSaved && !isTyping) showCurrent()
  })
  // What was typed and taken back is no change; meanwhile another device may have made one.
  node.addEventListener('blur', () => { if (isTyping) showCurrent() })
  node.addEventListener('keydown', (event) => {
    // The browser says `change` now if there is one, and the field keeps the focus: the next one is a Tab away.
    if (event.key === 'Enter') setTimeout(() => { if (isTyping) showCurrent() })
    if (event.key === 'Escape' && type !== 'checkbox' && !options) showCurrent()
  })
  return { node, show }
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
