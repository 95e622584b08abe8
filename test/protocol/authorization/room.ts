/**
 * A room as the authorisation rules see it: a create event, members, levels, a join rule. Alice of one.example created it
 * and is joined unless `members` says otherwise. Ids are plain, nothing is hashed or signed.
 */
import { authorize } from '../../../src/protocol/authorization/index.js'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import { type RoomVersionRules, roomVersionNames, rulesOf } from '../../../src/protocol/room-versions.js'
import type { Verdict } from '../../../src/protocol/verdict.js'

export const alice = '@alice:one.example'
export const bob = '@bob:one.example'
export const carol = '@carol:two.example'
export const dave = '@dave:two.example'
export const erin = '@erin:three.example'

export const versions = roomVersionNames

/** The rules of a version the tests name themselves. */
export const rulesFor = (version: string): RoomVersionRules => rulesOf(version)!

export const parse = (text: string): JsonObject => JSON.parse(text) as JsonObject

export interface Room {
  readonly members?: Readonly<Record<string, Json>>
  /** Content of `m.room.power_levels`; none when absent. */
  readonly levels?: JsonObject
  readonly joinRules?: JsonObject
  /** Beside what the version requires, in the content of `m.room.create`. */
  readonly create?: JsonObject
  readonly others?: readonly RoomEvent[]
}

/** `allowed`, or the reason of the rejection. */
export const outcome = (verdict: Verdict): string => (verdict.allowed ? 'allowed' : verdict.reason)

/** What a row of a table expects: the same in all versions, or by the rules of the version. */
export type Expected = string | ((rules: RoomVersionRules) => string)
export const expectedIn = (version: string, expected: Expected): string =>
  typeof expected === 'string' ? expected : expected(rulesFor(version))

/** An event with this type and sender, all else being ordinary. */
export const event = (parts: Partial<RoomEvent> & Pick<RoomEvent, 'type' | 'sender'>): RoomEvent => ({
  eventId: `$event:${parts.sender.split(':')[1]}`,
  roomId: '!create:one.example',
  stateKey: undefined,
  content: {},
  originServerTs: 1_000,
  depth: 10,
  prevEvents: ['$earlier'],
  authEvents: [],
  redacts: undefined,
  pdu: {},
  ...parts,
})

export const createEvent = (version: string, content: JsonObject = {}): RoomEvent =>
  inRoom(
    version,
    event({
      eventId: '$create',
      type: 'm.room.create',
      sender: alice,
      stateKey: '',
      content: {
        room_version: version,
        ...(rulesFor(version).creatorInCreateContent ? { creator: alice } : {}),
        ...content,
      },
      prevEvents: [],
    }),
  )

/** The event with the room id the version gives the room. */
export const inRoom = (version: string, of: RoomEvent): RoomEvent => ({
  ...of,
  roomId: rulesFor(version).roomIdIsCreateHash ? '!create' : '!create:one.example',
})

export const member = (userId: string, membership: Json, parts: Partial<RoomEvent> = {}): RoomEvent =>
  event({ type: 'm.room.member', sender: userId, stateKey: userId, content: { membership }, ...parts })

export function stateOf(version: string, room: Room): Map<string, RoomEvent> {
  const events = [
    createEvent(version, room.create),
    ...Object.entries(room.members ?? { [alice]: 'join' }).map(([userId, membership]) => member(userId, membership)),
    ...stateEvent('m.room.power_levels', room.levels),
    ...stateEvent('m.room.join_rules', room.joinRules),
    ...(room.others ?? []),
  ]
  return new Map(events.map((of) => [JSON.stringify([of.type, of.stateKey]), inRoom(version, of)]))
}

const stateEvent = (type: string, content: JsonObject | undefined): readonly RoomEvent[] =>
  content === undefined ? [] : [event({ type, sender: alice, stateKey: '', content })]

/** What `authorize` says about an event sent into the room. */
export function judge(version: string, room: Room, sent: RoomEvent): string {
  const state = stateOf(version, room)
  const lookup = (type: string, stateKey: string) => state.get(JSON.stringify([type, stateKey]))
  return outcome(authorize(rulesFor(version), inRoom(version, sent), lookup))
}
