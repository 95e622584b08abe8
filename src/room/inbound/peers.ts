/**
 * Other servers, as the room engine asks them. Federation implements it over HTTP, tests by scripts.
 *
 * Nothing that comes through here is trusted: an answer may hold PDUs nobody asked for, of other rooms, under other ids,
 * twice, malformed, or be endless for all we know. Whoever asks recomputes ids, checks signatures, and takes only what
 * was asked for. Whoever implements it bounds bytes and time; a call that fails rejects, a PDU that the peer says it does
 * not have is `undefined` or absent.
 */
import type { JsonObject } from '../../protocol/json.js'

/**
 * One PDU as JSON, cut out of the answer as it stood there and not parsed and written again: how a number was written
 * decides whether the event is valid in its room version (src/protocol/strict-json.ts).
 */
export type PduText = string

export interface Peers {
  /** `GET /event/{eventId}` */
  event(server: string, eventId: string, signal: AbortSignal): Promise<PduText | undefined>

  /** `POST /get_missing_events/{roomId}`: what lies between, from `latest` (not included) back to `earliest` (not included). */
  missingEvents(server: string, roomId: string, gap: Gap, signal: AbortSignal): Promise<readonly PduText[]>

  /** `GET /state_ids/{roomId}`: the state before the event and the auth chain of that state. */
  stateIds(server: string, roomId: string, eventId: string, signal: AbortSignal): Promise<StateIds>

  /** `GET /state/{roomId}`: as `stateIds`, with the events themselves. */
  state(server: string, roomId: string, eventId: string, signal: AbortSignal): Promise<StateEvents>

  /** `GET /event_auth/{roomId}/{eventId}`: the auth chain of the event, in no particular order. */
  eventAuth(server: string, roomId: string, eventId: string, signal: AbortSignal): Promise<readonly PduText[]>

  /** `GET /backfill/{roomId}`: at most `limit` events from `eventIds` (included) backwards. */
  backfill(
    server: string,
    roomId: string,
    eventIds: readonly string[],
    limit: number,
    signal: AbortSignal,
  ): Promise<readonly PduText[]>

  /** `GET /timestamp_to_event/{roomId}`: of the events it holds, the one closest to a time, at it or in a direction from it. */
  closestEvent(server: string, roomId: string, time: RoomTime, signal: AbortSignal): Promise<EventAt | undefined>

  /**
   * The keys a server signs with, by key id; those nobody knows are absent. `validAt` is the latest time at which one of
   * them has to count: an implementation that has a key whose `validUntil` is before it asks for a newer answer.
   */
  keys(
    server: string,
    keyIds: readonly string[],
    validAt: number,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, VerifyKey>>

  /**
   * `POST /_matrix/policy/v1/sign` at a room's policy server: the signature in unpadded base64 under the key id
   * `ed25519:policy_server`; undefined when it does not recommend the event.
   */
  policySignature(server: string, pdu: JsonObject, signal: AbortSignal): Promise<string | undefined>
}

export interface RoomTime {
  /** In ms. */
  readonly ts: number
  readonly backwards: boolean
}

export interface EventAt {
  readonly eventId: string
  readonly ts: number
}

export interface Gap {
  /** What we hold and need not be sent: our forward extremities. */
  readonly earliest: readonly string[]
  /** Events whose ancestors are missing. */
  readonly latest: readonly string[]
  readonly limit: number
  readonly minDepth: number
}

export interface StateIds {
  readonly stateIds: readonly string[]
  readonly authChainIds: readonly string[]
}

export interface StateEvents {
  readonly state: readonly PduText[]
  readonly authChain: readonly PduText[]
}

export interface VerifyKey {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** In ms: `valid_until_ts`, or `expired_ts` of a key that is no longer used. */
  readonly validUntil: number
}
