// The pure modules of src/js in one bundle, for unit tests. Nothing here touches the engine.

import { build } from 'esbuild'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('../../../src/js/', import.meta.url))
const NAMES = { asking: 'asking', changes: 'changes', errors: 'errors', observable: 'observable', operations: 'operations', options: 'options', query: 'query', rows: 'rows', turns: 'turns', utf8: 'utf8', validate: 'validate', values: 'values', verdicts: 'verdicts', mapping: 'document/mapping', matching: 'document/matching', rebase: 'document/rebase', exporting: 'document/exporting', refresh: 'document/refresh', store: 'document/store', digest: 'worker/digest', lists: 'worker/lists', mirror: 'worker/mirror', packed: 'worker/packed', provisional: 'worker/provisional', slot: 'worker/slot', batch: 'worker/batch', keys: 'worker/keys', naming: 'worker/naming', remote: 'worker/remote' }

const { outputFiles: [file] } = await build({
  stdin: { contents: Object.entries(NAMES).map(([name, path]) => `export * as ${name} from './${path}.ts'`).join('\n'), resolveDir: SOURCE },
  bundle: true, format: 'esm', platform: 'neutral', write: false, logLevel: 'warning',
})

export const modules = await import(`data:text/javascript;base64,${Buffer.from(file.contents).toString('base64')}`)

/** What `call` throws, as code and path. */
export function refusal(call) {
  try {
    call()
  } catch (error) {
    return { code: error.code, path: error.path }
  }
  return 'nothing was thrown'
}
