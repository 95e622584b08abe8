/**
 * Rooms made for tests, with real hashes, ids and signatures: `labRoom({ version })`, then
 *
 *     const [left, right] = room.fork()
 *     left.ban(alice, bob)
 *     right.say(bob, 'still here')
 *     room.merge(left, right)
 *     room.topic(alice, 'after the merge')
 *
 * A branch is a set of tips. An event made on it has them as prev events, its auth events are selected as the
 * specification says from the state after them, and it becomes the only tip. `event` insists on an event that the rules
 * allow; `attempt` also makes those they refuse, and takes `pdu` to say any key of the PDU otherwise. Such an event does
 * not move the tips.
 *
 * Everything is deterministic: ids of versions 1 and 2 and times are counted.
 */
import { encodeBase64 } from '../../../src/protocol/base64.js'
import { canonicalJson } from '../../../src/protocol/canonical-json.js'
import { authEventKeys } from '../../../src/protocol/authorization/index.js'
import { numbersOf, referenceHash } from '../../../src/protocol/hashes.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../../../src/protocol/json.js'
import { roomEventOf } from '../../../src/protocol/pdu.js'
import { type RoomVersionRules, rulesOf } from '../../../src/protocol/room-versions.js'
import { allow } from '../../../src/protocol/verdict.js'
import { finishEvent, signEvent } from '../../../src/protocol/signing.js'
import { JudgedRoom, keyOf, type LabEvent, type LabState } from './judged-room.js'
import { alice, labServer, type LabServer, serverOf } from './servers.js'

export interface LabDraft {
  readonly type: string
  /** Given for state events. */
  readonly stateKey?: string
  readonly content?: JsonObject
  readonly redacts?: string
  /** Keys of the PDU to be otherwise, before it is hashed and signed; `undefined` leaves one out. */
  readonly pdu?: Readonly<Record<string, Json | undefined>>
  /** Who signs; the sender's server when not given. */
  readonly signedBy?: readonly LabServer[]
  /** Instead of the tips. */
  readonly prevEvents?: readonly LabEvent[]
  /** Instead of those that are selected from the state before. */
  readonly authEvents?: readonly LabEvent[]
}

export interface LabRoomOptions {
  readonly version?: string
  readonly creator?: string
  /** Rooms of one name and version have one id; when not given, each room has a name of its own. */
  readonly name?: string
  readonly create?: JsonObject
  /** Beside the creator at 100, where the version lets creators stand there. */
  readonly levels?: JsonObject
  /** undefined: 'public'. null: the room has no join rules. */
  readonly joinRules?: JsonObject | null
  /** They join after the join rules are there. */
  readonly members?: readonly string[]
}

/** What the events of all branches of a room share. */
class Workshop {
  private made = 0
  readonly judged: JudgedRoom
  roomId: string | undefined

  constructor(
    readonly rules: RoomVersionRules,
    private readonly name: string,
    creator: string,
  ) {
    this.judged = new JudgedRoom(rules)
    if (!rules.roomIdIsCreateHash) this.roomId = `!${name}:${serverOf(creator).name}`
  }

  /** `isKept`: false for an event that nobody is to have. */
  make(tips: readonly LabEvent[], sender: string, draft: LabDraft, isKept = true): LabEvent {
    const { rules } = this
    const prevEvents = draft.prevEvents ?? tips
    const stateBefore = this.judged.stateAfter(prevEvents.map(({ eventId }) => eventId))
    const authEvents = draft.authEvents ?? this.selectAuthEvents(sender, draft, stateBefore)
    const pdu = { ...this.pduOf(sender, draft, prevEvents, authEvents), ...draft.pdu }
    const { pdu: signed, text } = this.signed(pdu, draft.signedBy ?? signersOf(rules, sender, draft))
    const event = roomEventOf(rules, signed)
    this.roomId ??= event.roomId
    if (!isKept) return { event, eventId: event.eventId, text, verdict: allow, stateBefore, stateAfter: stateBefore }
    return this.judged.add(event, text)
  }

  private selectAuthEvents(sender: string, { type, stateKey, content = {} }: LabDraft, state: LabState): LabEvent[] {
    return authEventKeys(this.rules, { type, stateKey, sender, content }).flatMap(([type, key]) => {
      const eventId = state.get(keyOf(type, key))
      return eventId === undefined ? [] : [this.judged.get(eventId)]
    })
  }

  private pduOf(
    sender: string,
    draft: LabDraft,
    prevEvents: readonly LabEvent[],
    authEvents: readonly LabEvent[],
  ): Record<string, Json | undefined> {
    const { rules } = this
    const count = ++this.made
    const redactsInContent = rules.redactsInContent && draft.redacts !== undefined
    return {
      type: draft.type,
      sender,
      content: redactsInContent ? { ...draft.content, redacts: draft.redacts } : (draft.content ?? {}),
      depth: prevEvents.reduce((depth, { event }) => Math.max(depth, event.depth), 0) + 1,
      origin_server_ts: 1_700_000_000_000 + count * 1_000,
      prev_events: prevEvents.map((event) => referenceTo(rules, event)),
      auth_events: authEvents.map((event) => referenceTo(rules, event)),
      ...(this.roomId === undefined ? {} : { room_id: this.roomId }),
      ...(draft.stateKey === undefined ? {} : { state_key: draft.stateKey }),
      ...(draft.redacts === undefined || rules.redactsInContent ? {} : { redacts: draft.redacts }),
      ...(rules.eventIdFormat === 'in-pdu' ? { event_id: `$${this.name}${count}:${serverOf(sender).name}` } : {}),
    }
  }

  private signed(pdu: JsonObject, [first, ...others]: readonly LabServer[]): { pdu: JsonObject; text: string } {
    const { rules } = this
    const finished = finishEvent(rules, pdu, first!.name, first!.key)
    if (others.length === 0) return finished
    const signed = others.reduce((signed, { name, key }) => signEvent(rules, signed, name, key), finished.pdu)
    return { pdu: signed, text: canonicalJson(signed, numbersOf(rules)) }
  }
}

const referenceTo = (rules: RoomVersionRules, { eventId, event }: LabEvent): Json =>
  rules.eventReferenceFormat === 'id' ? eventId : [eventId, { sha256: encodeBase64(referenceHash(rules, event.pdu)) }]

/** The sender's server, and that of the member who lets a restricted join in. */
function signersOf(rules: RoomVersionRules, sender: string, { type, content = {} }: LabDraft): readonly LabServer[] {
  const authoriser = type === 'm.room.member' ? ownString(content, 'join_authorised_via_users_server') : undefined
  const servers = [sender, ...(rules.restrictedJoins && authoriser !== undefined ? [authoriser] : [])].map(serverOf)
  return [...new Set(servers)]
}

export class Branch {
  constructor(
    protected readonly workshop: Workshop,
    public tips: readonly LabEvent[],
  ) {}

  get rules(): RoomVersionRules {
    return this.workshop.rules
  }

  get roomId(): string {
    return this.workshop.roomId!
  }

  /** All events of the room with their states and verdicts. */
  get judged(): JudgedRoom {
    return this.workshop.judged
  }

  get events(): readonly LabEvent[] {
    return this.judged.all
  }

  /** The state after the tips. */
  get state(): LabState {
    return this.judged.stateAfter(this.tips.map(({ eventId }) => eventId))
  }

  stateEvent(type: string, stateKey = ''): LabEvent | undefined {
    const eventId = this.state.get(keyOf(type, stateKey))
    return eventId === undefined ? undefined : this.judged.get(eventId)
  }

  /** @throws when the rules refuse it. */
  event(sender: string, draft: LabDraft): LabEvent {
    const made = this.workshop.make(this.tips, sender, draft)
    if (!made.verdict.allowed) throw new Error(`${draft.type} by ${sender}: ${made.verdict.reason}`)
    this.tips = [made]
    return made
  }

  /** Also what the rules refuse. The tips stay. */
  attempt(sender: string, draft: LabDraft): LabEvent {
    return this.workshop.make(this.tips, sender, draft)
  }

  /**
   * A branch on an event that nobody has any more. `changes` is how the state that peers tell after it differs from the
   * true one: what an honest server would never say.
   */
  forkWithTold(changes: readonly LabEvent[]): Branch {
    const { judged } = this
    const told = new Map(this.state)
    for (const { event, eventId } of changes) told.set(keyOf(event.type, event.stateKey ?? ''), eventId)
    const lost = this.workshop.make(this.tips, alice, { type: 'm.room.message', content: { body: 'lost' } }, false)
    judged.lose(lost.eventId, told)
    return new Branch(this.workshop, [lost])
  }

  fork(count = 2): Branch[] {
    return Array.from({ length: count }, () => new Branch(this.workshop, this.tips))
  }

  /** The tips of the branches become those of this one; the next event binds them together. */
  merge(...branches: readonly Branch[]): this {
    const tips = new Set(branches.flatMap((branch) => branch.tips))
    const covered = new Set([...tips].flatMap((tip) => [...this.ancestorsOf(tip)]))
    this.tips = [...tips].filter(({ eventId }) => !covered.has(eventId))
    return this
  }

  private ancestorsOf({ event }: LabEvent, found = new Set<string>()): Set<string> {
    for (const eventId of event.prevEvents) {
      if (found.has(eventId) || this.judged.lostEvents.has(eventId)) continue
      found.add(eventId)
      this.ancestorsOf(this.judged.get(eventId), found)
    }
    return found
  }

  say(sender: string, body: string): LabEvent {
    return this.event(sender, { type: 'm.room.message', content: { msgtype: 'm.text', body } })
  }

  member(sender: string, target: string, membership: string, content: JsonObject = {}): LabEvent {
    return this.event(sender, { type: 'm.room.member', stateKey: target, content: { ...content, membership } })
  }

  join(user: string, content: JsonObject = {}): LabEvent {
    return this.member(user, user, 'join', content)
  }

  leave(user: string): LabEvent {
    return this.member(user, user, 'leave')
  }

  invite(sender: string, target: string): LabEvent {
    return this.member(sender, target, 'invite')
  }

  kick(sender: string, target: string): LabEvent {
    return this.member(sender, target, 'leave')
  }

  ban(sender: string, target: string): LabEvent {
    return this.member(sender, target, 'ban')
  }

  topic(sender: string, topic: string): LabEvent {
    return this.event(sender, { type: 'm.room.topic', stateKey: '', content: { topic } })
  }

  /** Content of power levels in which the creator is at the top, as the version has it. */
  levelsWith(content: JsonObject): JsonObject {
    const { sender } = this.events[0]!.event
    const users = own(content, 'users')
    const { [sender]: _creator, ...others } = isObject(users) ? users : {}
    return { ...content, users: this.rules.privilegedCreators ? others : { [sender]: 100, ...others } }
  }

  joinRules(sender: string, content: JsonObject): LabEvent {
    return this.event(sender, { type: 'm.room.join_rules', stateKey: '', content })
  }

  levels(sender: string, content: JsonObject): LabEvent {
    return this.event(sender, { type: 'm.room.power_levels', stateKey: '', content })
  }

  redact(sender: string, target: LabEvent): LabEvent {
    return this.event(sender, { type: 'm.room.redaction', redacts: target.eventId })
  }
}

let rooms = 0

/** A room with its create event, the creator's join, power levels, join rules and members. */
export function labRoom(options: LabRoomOptions = {}): Branch {
  const {
    version = '11',
    creator = alice,
    name = `laboratory${++rooms}`,
    levels = {},
    joinRules = { join_rule: 'public' },
  } = options
  const rules = rulesOf(version)
  if (rules === undefined) throw new Error(`there is no room version ${version}`)
  const room = new Branch(new Workshop(rules, name, creator), [])
  const create = {
    room_version: version,
    ...(rules.creatorInCreateContent ? { creator } : {}),
    // Of versions whose room ids follow from the create event, too, each is another room.
    ...(rules.roomIdIsCreateHash ? { 'org.example.name': name } : {}),
    ...options.create,
  }
  room.event(creator, { type: 'm.room.create', stateKey: '', content: create })
  room.join(creator)
  room.levels(creator, room.levelsWith(levels))
  if (joinRules !== null) room.joinRules(creator, joinRules)
  for (const member of options.members ?? []) room.join(member)
  return room
}

export { labServer }
