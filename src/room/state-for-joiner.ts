/**
 * What a server that joins a room is told of it: the state before the join and the auth chain of all of it, as the texts
 * that were signed. It may be tens of thousands of events: their texts are read and written so many at a time, unparsed, and one server has one such
 * answer made at a time.
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
 */
import { OneAtATime } from '../one-at-a-time.js'
import { serverNameOf } from '../protocol/identifiers.js'
import type { EventNumber } from '../protocol/numbers.js'
import { authChainOf } from '../store/auth-chains.js'
import { eventTexts } from '../store/event-texts.js'
import { joinedServers } from '../store/memberships.js'
import { firstMembers } from '../store/room-windows.js'
import { stateEventNumbers, stateEventsAt } from '../store/state-events.js'
import type { StoredEvent } from '../store/stored-event.js'
import { JsonPieces } from './json-pieces.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'

const HEROES = 5

export class StatesForJoiners {
  private readonly turns = new OneAtATime()

  constructor(private readonly rooms: Rooms) {}

  /** A JSON object. `omitMembers`: without members, but for those by whom a room without a name is named. */
  before(name: KnownRoom, join: StoredEvent, omitMembers: boolean): Promise<Buffer> {
    const server = serverNameOf(join.event.sender) ?? ''
    return this.turns.run(server, () => stateForJoiner(this.rooms, name, join, omitMembers))
  }
}

async function stateForJoiner(rooms: Rooms, name: KnownRoom, join: StoredEvent, omitMembers: boolean): Promise<Buffer> {
  const { stores } = rooms.deps
  const { db } = stores
  const state = omitMembers ? await stateWithoutMembers(rooms, name, join) : await wholeState(rooms, name, join)
  const chain = new Set(await authChainOf(stores, name.room, [...state, join.number]))
  // "Any events that are returned in state may be omitted from auth_chain", when members are.
  if (omitMembers) for (const event of state) chain.delete(event)
  const answer = new JsonPieces()
  answer.add(`{"event":${join.text},"members_omitted":${omitMembers}`)
  if (omitMembers) {
    answer.add(`,"servers_in_room":${JSON.stringify(await joinedServers(db, name.room, join.event.sender))}`)
  }
  answer.add(',"state":')
  await answer.addArray(eventTexts(db, name.room, state))
  answer.add(',"auth_chain":')
  await answer.addArray(eventTexts(db, name.room, [...chain]))
  answer.add('}')
  return answer.bytes()
}

const wholeState = ({ deps: { stores } }: Rooms, { room }: KnownRoom, join: StoredEvent): Promise<EventNumber[]> =>
  stateEventNumbers(stores, room, join.stateBefore!)

async function stateWithoutMembers(rooms: Rooms, name: KnownRoom, join: StoredEvent): Promise<EventNumber[]> {
  const { stores } = rooms.deps
  const others = await stateEventNumbers(stores, name.room, join.stateBefore!, 'without members')
  const heroes = (await heroesOf(rooms, name, join.event.sender)).map((user) => ['m.room.member', user] as const)
  const members = await stateEventsAt(stores, name.room, join.stateBefore!, heroes)
  return [...others, ...members.map((member) => member.number)]
}

async function heroesOf(rooms: Rooms, name: KnownRoom, joiner: string): Promise<string[]> {
  const summary = await rooms.summary(name)
  if (summary.name !== null || summary.canonical_alias !== null) return []
  const members = (await firstMembers(rooms.deps.stores.db, [name.room], HEROES + 1)).get(name.room)!
  return members.present.filter((user) => user !== joiner).slice(0, HEROES)
}
