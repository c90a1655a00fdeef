// Deletes a row and offers the way back, for as long as the notice stands.

/**
 * @param {{ collection: any, row: any, text: string, notices: any }} options `text` says what was deleted
 */
export async function deleteWithUndo({ collection, row, text, notices }) {
  if (!await notices.watch(collection.delete(row.id))) return
  notices.say(text, { action: 'Undo', run: () => notices.watch(bringBack(collection, row)) })
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
