// Deletes a row and offers the way back, for as long as the notice stands.

/**
 * @param {{ collection: any, row: any, text: string, notices: any, rows: { focus: (key: string) => void } }} options `text` says what was
 *   deleted, `rows` is the list it was in
 */
export async function deleteWithUndo({ collection, row, text, notices, rows }) {
  if (!await notices.watch(collection.delete(row.id))) return
  async function run() {
    const focused = document.activeElement
    // On the row and not on its button, which would delete it once more. Not where somebody has gone on meanwhile.
    if (await notices.watch(bringBack(collection, row)) && document.activeElement === focused) rows.focus(collection.keyOf(row.id))
  }
  notices.say(text, { action: 'Undo', run })
}

// A create and a delete that were both never sent cancel each other: nothing is left to undelete, only the copy at hand.
async function bringBack(collection, row) {
  try {
    await collection.undelete(row.id)
  } catch (error) {
    if (error?.code !== 'not-found') throw error
    await collection.put(row)
  }
}
