import { serverNameOf } from '../../protocol/identifiers.js'
import { notFound } from '../../protocol/matrix-error.js'
import type { Redeemed } from '../../room/third-party-invites.js'
import type { Remote } from '../remote.js'

/** It asks the identity server, and sends us the invite, before it answers. In ms. */
const TIMEOUT = 60_000

/**
 * `PUT /exchange_third_party_invite`: the server of who made a third-party invite makes an invite of it. No other server
 * can: we take an invite by none but the inviter's.
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
 *
 * @throws RemoteError, Unreachable, MatrixError 404 where there is none to ask
 */
export async function exchangeThirdPartyInvite(
  remote: Remote,
  ours: string,
  roomId: string,
  { target, signed, sender }: Redeemed & { sender: string },
  signal?: AbortSignal,
): Promise<void> {
  const server = serverNameOf(sender)
  if (server === undefined || server === ours) throw notFound('This server is not in the room')
  const content = {
    type: 'm.room.member',
    room_id: roomId,
    sender,
    state_key: target,
    // The name is what the offer says, which we cannot see from here.
    content: { membership: 'invite', third_party_invite: { display_name: '', signed } },
  }
  const path = `/_matrix/federation/v1/exchange_third_party_invite/${encodeURIComponent(roomId)}`
  await remote.request(server, { method: 'PUT', path, content, timeout: TIMEOUT, maxBytes: 64 * 1024 }, signal)
}
