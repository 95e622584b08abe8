import { canonicalJson } from '../protocol/canonical-json.js'
import type { JsonObject } from '../protocol/json.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Draft } from './draft.js'

/** No verdict: what a draft would set is in place on the head that it is built on, and so no event is made. */
export class StateInPlace extends Error {
  override readonly name = 'StateInPlace'
  constructor(readonly event: StoredEvent) {
    super(`${event.event.type} is in place already`)
  }
}

/** @throws StateInPlace when the event that a draft would replace is its sender's, and says the same. */
export function requireChange(replaced: StoredEvent | undefined, draft: Draft): void {
  if (replaced?.event.sender === draft.sender && sameContent(replaced.event.content, draft.content))
    throw new StateInPlace(replaced)
}

const sameContent = (left: JsonObject, right: JsonObject): boolean => {
  try {
    return canonicalJson(left) === canonicalJson(right)
  } catch {
    // Not canonical: it is refused when it is built.
    return false
  }
}
