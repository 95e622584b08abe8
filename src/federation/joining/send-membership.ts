/** `PUT /send_leave` and `PUT /send_knock`. https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites */
import { own, type Json } from '../../protocol/json.js'
import type { Remote } from '../remote.js'
import { objectIn, type Made } from './handshake.js'

/** Somebody waits for it. In ms. */
const TIMEOUT = 30_000

/** @throws RemoteError, Unreachable */
export async function sendLeave(remote: Remote, resident: string, made: Made, signal: AbortSignal): Promise<void> {
  await send(remote, resident, 'v2/send_leave', made, signal)
}

/** What the server tells of the room: an array of events, if it is as it should be. @throws RemoteError, Unreachable */
export async function sendKnock(remote: Remote, resident: string, made: Made): Promise<Json | undefined> {
  const answer = await send(remote, resident, 'v1/send_knock', made)
  return own(objectIn(resident, answer), 'knock_room_state')
}

function send(
  remote: Remote,
  resident: string,
  endpoint: string,
  { pdu: { event }, content }: Made,
  signal?: AbortSignal,
): Promise<string> {
  const path = `/_matrix/federation/${endpoint}/${encodeURIComponent(event.roomId)}/${encodeURIComponent(event.eventId)}`
  const request = { method: 'PUT', path, content, timeout: TIMEOUT, maxBytes: 8 * 1024 * 1024 } as const
  return remote.request(resident, request, signal)
}
