/**
 * A room of many members as the rows of one batch of the server's own log writer. The events are what the room version
 * asks for, chained and with the auth events they would have, but unless the server's key is given their ids, hashes and
 * signatures are random bytes: nobody checks the database it trusts.
 *
 * States are exact for the events that made the room and for its newest members. The members between them join in one
 * step: each has the state before and after all of them, which nobody looks at unless they read that far back.
 */

import { randomBytes } from 'node:crypto'
import { canonicalJson } from '../../../src/protocol/canonical-json.js'
import { serverNameOf } from '../../../src/protocol/identifiers.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { EventNumber, Position, RoomNumber, StateKeyNumber } from '../../../src/protocol/numbers.js'
import { roomEventOf } from '../../../src/protocol/pdu.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { finishEvent, type SigningKey } from '../../../src/protocol/signing.js'
import { change, emptyState, FIRST_SEGMENT, run, SegmentPacker } from '../../../src/protocol/state-trie.js'
import type { Fact } from '../../../src/store/facts.js'
import type { Batch } from '../../../src/store/log-statements.js'
import type { NewEvent, RoomSummary } from '../../../src/store/log-writer.js'
import type { StoredEvent } from '../../../src/store/stored-event.js'

export interface RoomPlan {
  readonly room: RoomNumber
  readonly version: string
  readonly rules: RoomVersionRules
  readonly serverName: string
  readonly identityKey: Uint8Array
  /** Events that other servers are to accept: all members are of this server then. */
  readonly signingKey?: SigningKey | undefined
  readonly name: string
  readonly topic: string
  /** User ids; the first creates the room. */
  readonly members: readonly string[]
  /** One for each event. */
  readonly numbers: readonly EventNumber[]
  readonly firstPosition: Position
  stateKey(type: string, key: string): StateKeyNumber
}

/** Events besides those of members other than the creator. */
export const ROOM_EVENTS = 7
/** Members who join one by one at the end: more than a timeline shows. */
const ONE_BY_ONE = 30

interface StateDraft {
  readonly type: string
  readonly stateKey: string
  readonly sender: string
  readonly content: JsonObject
}

export interface LargeRoom {
  readonly roomId: string
  readonly batch: Batch
}

export function largeRoom(plan: RoomPlan): LargeRoom {
  const builder = new RoomBuilder(plan)
  for (const draft of beginning(plan)) builder.add([draft])
  const joins = plan.members.slice(1).map((user) => member(user))
  const together = Math.max(0, joins.length - ONE_BY_ONE)
  builder.add(joins.slice(0, together))
  for (const join of joins.slice(together)) builder.add([join])
  return builder.finish()
}

const member = (user: string): StateDraft => ({
  type: 'm.room.member',
  stateKey: user,
  sender: user,
  content: { displayname: `Member ${user.slice(1, 30)}`, membership: 'join' },
})

function beginning({ rules, version, members, name, topic }: RoomPlan): StateDraft[] {
  const creator = members[0]!
  const state = (type: string, content: JsonObject): StateDraft => ({ type, stateKey: '', sender: creator, content })
  const levels = { state_default: 50, users: rules.privilegedCreators ? {} : { [creator]: 100 } }
  return [
    state('m.room.create', { room_version: version }),
    member(creator),
    state('m.room.power_levels', levels),
    state('m.room.join_rules', { join_rule: 'public' }),
    state('m.room.history_visibility', { history_visibility: 'shared' }),
    state('m.room.name', { name }),
    state('m.room.topic', { topic }),
  ]
}

/** Types of the events that each event is authorised by, of those that are there. Members are authorised as joins. */
function authTypes(type: string, { roomIdIsCreateHash }: RoomVersionRules): string[] {
  const types = ['m.room.power_levels', type === 'm.room.member' ? 'm.room.join_rules' : 'm.room.member']
  return roomIdIsCreateHash ? types : ['m.room.create', ...types]
}

class RoomBuilder {
  readonly #packer: SegmentPacker
  readonly #events: NewEvent[] = []
  readonly #facts: Fact[] = []
  /** The newest event of each type, of the creator's member events the first. */
  readonly #authorising = new Map<string, StoredEvent>()
  readonly #now = Date.now()
  #state = emptyState
  #roomId = ''

  constructor(readonly plan: RoomPlan) {
    this.#packer = new SegmentPacker(FIRST_SEGMENT, { identityKey: plan.identityKey, get: () => undefined })
  }

  /** Events that change the state in one step. */
  add(drafts: readonly StateDraft[]): void {
    if (drafts.length === 0) return
    const before = this.#state
    const changes = drafts.map(({ type, stateKey }, index) => {
      const number = this.plan.numbers[this.#events.length + index]!
      return [this.plan.stateKey(type, stateKey), number] as const
    })
    const after = run(change(this.#packer, before, changes))
    for (const [index, draft] of drafts.entries()) this.#addEvent(draft, changes[index]![0], before, after)
    this.#state = after
    const { number, position } = this.#events.at(-1)!.stored
    const { room } = this.plan
    this.#facts.push({ kind: 'state-change', position: position!, room, before, after, cause: number })
  }

  #addEvent(draft: StateDraft, stateKey: StateKeyNumber, before: StoredEvent['stateBefore'], after: typeof before) {
    const { plan } = this
    const index = this.#events.length
    const position = (plan.firstPosition + index) as Position
    const previous = this.#events.at(-1)?.stored
    const authEvents = authTypes(draft.type, plan.rules).flatMap((type) => this.#authorising.get(type) ?? [])
    const { pdu, text, eventId } = this.#signed(this.#pdu(draft, previous, authEvents))
    const event = roomEventOf(plan.rules, pdu, eventId)
    if (index === 0) this.#roomId = event.roomId
    const stored: StoredEvent = {
      number: plan.numbers[index]!,
      room: plan.room,
      event,
      text,
      stateKey,
      position,
      anchor: position,
      minor: 0,
      prevEvents: previous === undefined ? [] : [previous.number],
      authEvents: authEvents.map(({ number }) => number),
      authDepth: 1 + Math.max(0, ...authEvents.map(({ authDepth }) => authDepth)),
      stateBefore: before,
      stateAfter: after,
      replaces: undefined,
      fate: 'accepted',
      reason: undefined,
      redactedBy: undefined,
      notifyCount: 0,
      highlightCount: 0,
      clientText: undefined,
    }
    this.#events.push({ stored, order: 'live', memberships: [], highlights: [] })
    if (!this.#authorising.has(draft.type)) this.#authorising.set(draft.type, stored)
    if (draft.type === 'm.room.member') this.#facts.push(this.#membership(stored, draft.stateKey))
  }

  #pdu(draft: StateDraft, previous: StoredEvent | undefined, authEvents: readonly StoredEvent[]): JsonObject {
    const { rules, serverName } = this.plan
    const roomId = this.#events.length > 0 ? this.#roomId : `!${randomBytes(12).toString('hex')}:${serverName}`
    const withRoomId = this.#events.length > 0 || !rules.roomIdIsCreateHash
    return {
      auth_events: authEvents.map(({ event }) => event.eventId),
      content: draft.content,
      depth: this.#events.length + 1,
      origin_server_ts: this.#now,
      prev_events: previous === undefined ? [] : [previous.event.eventId],
      ...(withRoomId ? { room_id: roomId } : {}),
      sender: draft.sender,
      state_key: draft.stateKey,
      type: draft.type,
    }
  }

  #signed(unsigned: JsonObject): { pdu: JsonObject; text: string; eventId: string } {
    const { rules, serverName, signingKey } = this.plan
    if (signingKey !== undefined) return finishEvent(rules, unsigned, serverName, signingKey)
    const signatures = { [serverName]: { 'ed25519:bench': unpadded(64) } }
    const pdu = { ...unsigned, hashes: { sha256: unpadded(32) }, signatures }
    return { pdu, text: canonicalJson(pdu), eventId: `$${randomBytes(32).toString('base64url')}` }
  }

  #membership({ number, position }: StoredEvent, user: string): Fact {
    const { room } = this.plan
    const common = {
      kind: 'membership',
      room,
      user,
      membership: 'join',
      sender: user,
      strippedState: undefined,
    } as const
    return { ...common, position: position!, event: number }
  }

  finish(): LargeRoom {
    const { room, version, members, serverName } = this.plan
    const isShared = members.some((user) => serverNameOf(user) !== serverName) || undefined
    const last = this.#events.at(-1)!.stored.number
    const counts = { notifyCount: 0, highlightCount: 0, lastActivityTs: this.#now }
    const head = { version: 1, forwardExtremities: [last], state: this.#state, isShared, ...counts }
    const created = { roomId: this.#roomId, version, creationEvent: this.plan.numbers[0]! }
    const changes = [{ builtOn: 0, events: this.#events, head, summary: this.#summary(), created }]
    const lane = { room, changes, segments: this.#packer.take(), nextSegment: this.#packer.nextSegment }
    return { roomId: this.#roomId, batch: { facts: this.#facts, lanes: [lane] } }
  }

  #summary(): RoomSummary {
    const { name, topic, members } = this.plan
    return {
      name,
      topic,
      avatar_url: null,
      canonical_alias: null,
      join_rule: 'public',
      history_visibility: 'shared',
      guest_access: null,
      encryption: null,
      room_type: null,
      tombstone_event_id: null,
      joined_members: members.length,
      invited_members: 0,
      in_directory: false,
    }
  }
}

const unpadded = (bytes: number): string => randomBytes(bytes).toString('base64').replace(/=+$/, '')
