import { Reply } from '../../http/reply.js'
import { canonicalJson } from '../../protocol/canonical-json.js'
import type { JsonObject } from '../../protocol/json.js'

/** What the notary says, in canonical JSON as everything about keys. */
export const serverKeys = (vouched: readonly JsonObject[]): Reply =>
  new Reply(200, canonicalJson({ server_keys: vouched }))
