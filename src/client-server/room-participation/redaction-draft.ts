import type { JsonObject } from '../../protocol/json.js'
import type { Draft } from '../../room/draft.js'
import type { KnownRoom } from '../../room/known-room.js'

/** `redacts` stands in the content since room version 11; before, beside it. */
export function redactionDraft({ rules }: KnownRoom, sender: string, redacts: string, given: JsonObject): Draft {
  const { redacts: _redacts, ...rest } = given
  const content = rules.redactsInContent ? { ...rest, redacts } : rest
  return { type: 'm.room.redaction', sender, content, redacts }
}
