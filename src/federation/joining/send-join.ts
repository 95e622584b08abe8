/** `PUT /send_join/{roomId}/{eventId}`: the answer of a resident server to our join, cut up as it arrives. */
import { isServerName } from '../../protocol/identifiers.js'
import type { JsonObject } from '../../protocol/json.js'
import { JsonError } from '../../protocol/strict-json.js'
import { partsOf } from '../../protocol/json-texts.js'
import type { PduText } from '../../room/inbound/peers.js'
import { Unreachable, type Remote } from '../remote.js'

export interface JoinAnswer {
  readonly state: readonly PduText[]
  readonly authChain: readonly PduText[]
  /** The join as the resident server signed it. */
  readonly event: PduText | undefined
  /** Where the state lacks members: the servers that are in the room. */
  readonly servers: readonly string[] | undefined
}

/** A room of a hundred thousand members is answered by a hundred megabytes. */
const MAX_BYTES = 512 * 1024 * 1024
/** In ms. */
const TIMEOUT = 180_000

/** `omitMembers`: the server may leave them out. @throws RemoteError, Unreachable */
export async function sendJoin(
  remote: Remote,
  resident: string,
  roomId: string,
  eventId: string,
  content: JsonObject,
  omitMembers = false,
): Promise<JoinAnswer> {
  const query = omitMembers ? '?omit_members=true' : ''
  const path = `/_matrix/federation/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}${query}`
  const request = { method: 'PUT', path, content, timeout: TIMEOUT, maxBytes: MAX_BYTES } as const
  const answer = await remote.stream(resident, request)
  const cutter = partsOf({
    elements: ['state', 'auth_chain', 'servers_in_room'],
    members: ['event', 'members_omitted'],
  })
  const texts: Record<string, PduText[]> = {
    state: [],
    auth_chain: [],
    servers_in_room: [],
    event: [],
    members_omitted: [],
  }
  try {
    for await (const chunk of answer) for (const { key, text } of cutter.push(String(chunk))) texts[key]?.push(text)
    cutter.end()
  } catch (cause) {
    if (cause instanceof JsonError) throw new Unreachable(resident, 'its answer to the join is malformed', { cause })
    throw cause
  }
  const isPartial = omitMembers && texts.members_omitted![0] === 'true'
  const servers = isPartial ? serversIn(resident, texts.servers_in_room!) : undefined
  return { state: texts.state!, authChain: texts.auth_chain!, event: texts.event![0], servers }
}

/** More are in no room. */
const MOST_SERVERS = 100_000

/** What is no name of a server is nobody to talk to. Who answers is in the room. */
function serversIn(resident: string, texts: readonly string[]): readonly string[] {
  const servers = new Set([resident])
  for (const text of texts.slice(0, MOST_SERVERS)) {
    const server: unknown = JSON.parse(text)
    if (typeof server === 'string' && isServerName(server)) servers.add(server)
  }
  return [...servers]
}
