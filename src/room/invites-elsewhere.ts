import type { JsonObject } from '../protocol/json.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { KnownRoom } from './known-room.js'

/** Invites of other servers' users: their server signs the event before it is in the room. Federation does it. */
export interface InvitesElsewhere {
  /** `more`: what the member event says beside the membership. @throws MatrixError */
  invite(name: KnownRoom, sender: string, target: string, more: JsonObject): Promise<StoredEvent>
}
