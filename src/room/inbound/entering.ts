/**
 * Coming into a room of other servers: what a resident server answered to a join of ours becomes the room here.
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 *
 * The answer is a state and the auth chain of it. Each event passes the checks of any PDU and is stored as an outlier, in
 * the order of the auth chain; the join then stands on that state, and the room goes on from it. What the resident server
 * claims has to be taken as it is, like any state a peer tells (missing-state.ts); events that nobody vouches for, because
 * the keys of their server cannot be had, are left out.
 */
import { authorize } from '../../protocol/authorization/index.js'
import { ownString } from '../../protocol/json.js'
import type { EventNumber } from '../../protocol/numbers.js'
import { rulesOf, type RoomVersionRules } from '../../protocol/room-versions.js'
import type { PartialEntrance } from '../../store/log-writer.js'
import { joinedOfServer } from '../../store/memberships.js'
import { isPauseDue, pause } from '../../store/pauses.js'
import { HeadMoved, type Received } from '../arrival.js'
import type { KnownRoom } from '../known-room.js'
import { Budget, type BudgetLimits } from './asking.js'
import { storeOutliers } from './auth-events.js'
import { Fetching } from './fetching.js'
import type { InboundDeps } from './inbound-deps.js'
import { stateOf } from './missing-state.js'
import { keysOfBatch } from './keys-of-batch.js'
import { NotNow } from './not-now.js'
import { inOrder } from './in-order.js'
import type { PduText, StateEvents } from './peers.js'
import { isDropped, type Pdu } from './read-pdu.js'
import { checkPdu, readSignedPdu, receive } from './receive-pdu.js'

/** The state before the join, and the auth chain of it and of the join. */
export interface Entrance extends StateEvents {
  readonly roomId: string
  /** As the template of the join named it. */
  readonly version: string
  /** The server that answered. */
  readonly resident: string
  /** Ours, with the signatures it has to have. */
  readonly join: Pdu
  /** Where the state lacks members. */
  readonly partial?: PartialEntrance
}

/** Somebody waits for it; a room of a hundred thousand members is to fit. */
const budget: BudgetLimits = { pdus: 500_000, bytes: 512 * 1024 * 1024, time: 300_000 }
/** Texts that are read, and whose signatures are checked, in one go. */
const TOGETHER = 500
/** The room is written into by whoever of ours came in first. */
const MOST_ATTEMPTS = 5

/** The join is stored and the room known after it. @throws NotNow when the answer is none that a room can be made of. */
export async function enter(deps: InboundDeps, entrance: Entrance): Promise<KnownRoom> {
  const rules = rulesOf(entrance.version)
  if (rules === undefined) throw new NotNow('peers', `room version ${entrance.version} is not known here`)
  const name = await adoptRoom(deps, rules, entrance)
  const fetching = new Fetching(deps, name, [entrance.resident], new Budget(budget, deps.now))
  const stateIds = await holdState(fetching, entrance)
  const stateBefore = await stateBeforeJoin(fetching, entrance, stateIds)
  const received = await receiveJoin(deps, name, entrance, stateBefore)
  if (received.event.fate !== 'accepted')
    throw new NotNow('peers', `the state of ${entrance.resident} does not allow the join: ${received.event.reason}`)
  return name
}

/** What is looked at before an event is read in earnest. */
interface Sketch {
  readonly text: PduText
  /** Undefined of what is no event of the room. */
  readonly eventId: string | undefined
  readonly authEvents: readonly string[]
}

/**
 * The state that a server tells of a room, and the auth chain of it: the events become outliers. There may be very many of
 * them, and an event that is parsed takes many times its text: first it is only seen which stands on which, then so many
 * at a time are read, parents before children. Resolves with the ids of those of the state that are signed as they should be.
 */
export async function holdState(
  fetching: Fetching,
  { state, authChain }: StateEvents,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const ofState = await sketched(fetching, state)
  const { ordered, cyclic } = inOrder(
    [...(await sketched(fetching, authChain)), ...ofState],
    ({ eventId, text }) => eventId ?? text,
    ({ authEvents }) => authEvents,
  )
  const signed = new Set<string>()
  for (const some of [...inPieces(ordered), ...(cyclic.length > 0 ? [cyclic] : [])]) {
    signal?.throwIfAborted()
    const read = await fetching.read(
      some.map(({ text }) => text),
      () => true,
    )
    for (const eventId of read.keys()) signed.add(eventId)
    await storeOutliers(fetching, [...(await thatStand(fetching, read)).values()])
  }
  return ofState.flatMap(({ eventId }) => (eventId !== undefined && signed.has(eventId) ? [eventId] : []))
}

async function sketched({ name }: Fetching, texts: readonly PduText[]): Promise<Sketch[]> {
  const sketches: Sketch[] = []
  // Most events stand on the same few: each id is kept once.
  const known = new Map<string, string>()
  const once = (id: string) => known.get(id) ?? (known.set(id, id), id)
  for (const text of texts) {
    if (isPauseDue()) await pause()
    const pdu = readSignedPdu(name.rules, name.roomId, text)
    const [eventId, authEvents] = isDropped(pdu) ? [undefined, []] : [pdu.event.eventId, pdu.event.authEvents.map(once)]
    sketches.push({ text, eventId, authEvents })
  }
  return sketches
}

function* inPieces<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += TOGETHER) yield items.slice(at, at + TOGETHER)
}

/** Somebody of ours came into the room meanwhile: the join is one more event in it. */
export class Overtaken extends Error {
  override readonly name = 'Overtaken'
}

/**
 * Where a user of ours has come in by another process meanwhile, the room goes on from both.
 * @throws HeadMoved, and Overtaken where it cannot, since the members are still to come.
 */
async function receiveJoin(
  deps: InboundDeps,
  name: KnownRoom,
  { join, partial }: Entrance,
  stateBefore: readonly EventNumber[],
): Promise<Received> {
  for (let attempt = 1; ; attempt++) {
    const { version, partialJoin } = (await deps.rooms.head(name)).head
    const isIn = (await joinedOfServer(deps.db, name.room, deps.serverName, 1)).length > 0
    if (isIn && (partial ?? partialJoin) !== undefined)
      throw new Overtaken('somebody of ours came into the room meanwhile')
    const how = isIn
      ? ({ kind: 'live', stateBefore } as const)
      : ({ kind: 'entrance', stateBefore, partial, onHead: version } as const)
    try {
      return await receive(deps, name, { pdu: join, how })
    } catch (cause) {
      if (!(cause instanceof HeadMoved) || attempt === MOST_ATTEMPTS) throw cause
    }
  }
}

/** The room by its create event, which is in every auth chain, or in the state of versions that do not name it. */
async function adoptRoom(
  deps: InboundDeps,
  rules: RoomVersionRules,
  { roomId, resident, state, authChain, version }: Entrance,
): Promise<KnownRoom> {
  for (const text of [...state, ...authChain]) {
    if (!text.includes('m.room.create')) continue
    const pdu = readSignedPdu(rules, roomId, text)
    if (isDropped(pdu) || pdu.event.type !== 'm.room.create' || pdu.event.stateKey !== '') continue
    const checked = await checkPdu(deps, rules, pdu, keysOfBatch(deps.asking, rules, [pdu]))
    if (isDropped(checked) || checked !== pdu) continue
    // One that the rules reject is none: whoever answers may have made it, and names what room it likes.
    if (!authorize(rules, pdu.event, () => undefined).allowed) continue
    // What the room is it has from here on: by its own event, not by the word of whoever answers.
    if ((ownString(pdu.event.content, 'room_version') ?? '1') !== version)
      throw new NotNow('peers', `${resident} takes the room for one of version ${version}`)
    return (await deps.rooms.adopt({ event: pdu.event, text: pdu.text, kind: 'live' }, version)) as KnownRoom
  }
  throw new NotNow('peers', `${resident} gave no m.room.create event that is as it should be`)
}

/** Those that are not held, and whose auth events are held or among them: what lacks one takes all with it that stand on it. */
async function thatStand(fetching: Fetching, read: ReadonlyMap<string, Pdu>): Promise<Map<string, Pdu>> {
  const children = new Map<string, string[]>()
  for (const [id, { event }] of read) {
    for (const authId of event.authEvents) {
      const known = children.get(authId)
      if (known === undefined) children.set(authId, [id])
      else known.push(id)
    }
  }
  const held = await fetching.held([...children.keys(), ...read.keys()])
  const standing = new Map(read)
  for (const id of held.keys()) standing.delete(id)
  const lacking = [...children.keys()].filter((id) => !read.has(id) && !held.has(id))
  // Grows while it is walked.
  for (const id of lacking) for (const child of children.get(id) ?? []) if (standing.delete(child)) lacking.push(child)
  return standing
}

async function stateBeforeJoin(
  fetching: Fetching,
  { resident }: Entrance,
  stateIds: readonly string[],
): Promise<EventNumber[]> {
  const held = await fetching.held(stateIds)
  const state = stateOf(
    stateIds.filter((id) => held.has(id)),
    held,
  )
  const { create } = await fetching.deps.rooms.head(fetching.name)
  const numbers = [...state.values()]
  if (create === undefined || !numbers.includes(create.number))
    throw new NotNow('peers', `${resident} gave a state without m.room.create`)
  return numbers
}
