import type { RemoteServer } from '../http/endpoint.js'
import type { KnownRoom } from '../room/known-room.js'
import type { Handshake } from '../room/membership-templates.js'
import { receiveMembership } from '../room/received-memberships.js'
import { roomForServer } from '../room/room-for-server.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { ServerServices } from './services.js'

interface SendCall {
  readonly requester: RemoteServer
  readonly params: { readonly roomId: string; readonly eventId: string }
  readonly bodyText: string
}

/** What all of send_join, send_leave and send_knock do: the event is in the room after it. @throws MatrixError */
export async function receivedMembership(
  { inbound: { deps } }: Pick<ServerServices, 'inbound'>,
  { requester: { serverName: origin }, params: { roomId, eventId }, bodyText: text }: SendCall,
  membership: Handshake,
): Promise<{ name: KnownRoom; event: StoredEvent }> {
  const name = await roomForServer(deps, origin, roomId)
  return { name, event: await receiveMembership(deps, name, { origin, membership, eventId, text }) }
}
