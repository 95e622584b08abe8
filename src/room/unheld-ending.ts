import { hash } from 'node:crypto'
import type { JsonObject } from '../protocol/json.js'

export interface UnheldEnding {
  readonly roomId: string
  readonly user: string
  readonly sender: string
  /** Of the member event. */
  readonly content: JsonObject & { readonly membership: 'leave' | 'ban' }
  readonly originServerTs: number
}

/** In characters. It stays with the membership: a reason that does not fit in is left out. */
const MOST_TEXT = 2_048

/**
 * How an invite to, or a knock on, a room that we do not hold ended, as its user is told: an array of one event, since
 * clients take nothing else for an end. The event is in no room. Its id is the hash of all it says, and an event of a room
 * says more.
 */
export function unheldEnding({ roomId, user, sender, content, originServerTs }: UnheldEnding): string {
  const event = { type: 'm.room.member', state_key: user, sender, content, origin_server_ts: originServerTs }
  const said = JSON.stringify({ ...event, room_id: roomId })
  if (said.length > MOST_TEXT && Object.keys(content).length > 1) {
    const { membership } = content
    return unheldEnding({ roomId, user, sender, content: { membership }, originServerTs })
  }
  return JSON.stringify([{ ...event, event_id: `$${hash('sha256', said, 'base64url')}` }])
}
