// A page that stands still: no task of it runs, timers and beats neither, its locks and connections stay. What a browser does to
// a tab in the background. By the debugger, because `Page.setWebLifecycleState` freezes no visible page, and headless ones are.

/** Freezes a page; resolves, when it stands still, to the function that lets it go on. */
export async function freeze(page) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Debugger.enable')
  const stopped = new Promise((resolve) => { cdp.once('Debugger.paused', resolve) })
  await cdp.send('Debugger.pause')
  // It stops at the next statement it comes to: at this one, if nothing else runs.
  cdp.send('Runtime.evaluate', { expression: '0' }).catch(() => {})
  await stopped
  return async () => {
    await cdp.send('Debugger.resume')
    await cdp.detach()
  }
}
