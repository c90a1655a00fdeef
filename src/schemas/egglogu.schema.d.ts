// The type of `homing/egglogu.schema.json`. Beside it in the package.

import type { SharedCollections } from './types/index.js'

declare const schema: { readonly version: number; readonly collections: SharedCollections }
export default schema
