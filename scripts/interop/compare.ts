/**
 * Whether two servers hold the same room: state, members, extremities, which events are rejected, and the state after
 * each event that both have.
 */
import type { TestUser } from '../../test/support/test-user.js'
import { memberships, PATIENCE_MS, state } from './actions.js'
import type { HeldRoom } from './held-room.js'
import type { Server } from './server.js'

/** A server, and a user of it who is in the room. */
export interface View {
  readonly server: Server
  readonly user: TestUser
}

export interface Comparison {
  readonly roomId: string
  readonly differences: readonly string[]
  readonly held: Readonly<Record<string, HeldRoom>>
}

/** What differs; nothing as soon as nothing does. */
export async function compareRoom(roomId: string, one: View, other: View): Promise<Comparison> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const comparison = await compareNow(roomId, one, other)
    if (comparison.differences.length === 0 || performance.now() > deadline) return comparison
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

async function compareNow(roomId: string, one: View, other: View): Promise<Comparison> {
  const [first, second] = await Promise.all([lookAt(roomId, one), lookAt(roomId, other)])
  const difference = (what: string, here: ReadonlyMap<string, string>, there: ReadonlyMap<string, string>) =>
    [...new Set([...here.keys(), ...there.keys()])]
      .filter((key) => here.get(key) !== there.get(key))
      .map((key) => {
        const sides = [`${one.server.kind} ${here.get(key)}`, `${other.server.kind} ${there.get(key)}`]
        return `${what} ${key}: ${sides.sort().join(', ')}`
      })
  const hasState = (event: Held | undefined) => event !== undefined && event.after !== null
  const both = first.held.events.filter((event) => hasState(event) && hasState(second.events.get(event.event_id)))
  const ofBoth = (look: Look, tell: (event: Held) => string) =>
    new Map(both.map(({ event_id }) => [event_id, tell(look.events.get(event_id)!)]))
  return {
    roomId,
    differences: [
      ...[one, other]
        .filter((_, i) => [first, second][i]!.held.isPartial)
        .map(({ server }) => `${server.kind} waits for members`),
      ...difference('state', first.state, second.state),
      ...difference('member', first.members, second.members),
      ...difference('extremity', first.extremities, second.extremities),
      ...difference('fate of', ofBoth(first, toldFate), ofBoth(second, toldFate)),
      ...statesThatDiffer(first, second, both),
    ],
    held: { [one.server.kind]: first.held, [other.server.kind]: second.held },
  }
}

type Held = HeldRoom['events'][number]

interface Look {
  readonly state: ReadonlyMap<string, string>
  readonly members: ReadonlyMap<string, string>
  readonly extremities: ReadonlyMap<string, string>
  readonly events: ReadonlyMap<string, Held>
  readonly held: HeldRoom
}

async function lookAt(roomId: string, { server, user }: View): Promise<Look> {
  const [events, members, held] = await Promise.all([
    state(user, roomId),
    memberships(user, roomId),
    server.room(roomId),
  ])
  return {
    state: new Map(events.map((event) => [`(${event.type}, ${event.state_key})`, shown(event)])),
    members: new Map(Object.entries(members)),
    extremities: new Map(held.extremities.map((eventId) => [eventId, 'has it'])),
    events: new Map(held.events.map((event) => [event.event_id, event])),
    held,
  }
}

/** Which events fail softly depends on when a server hears of them, which ones are rejected does not. */
const toldFate = ({ fate }: Held): string => (fate === 'rejected' ? fate : 'taken')

function* statesThatDiffer(first: Look, second: Look, events: readonly Held[]): Generator<string> {
  for (const { event_id } of events) {
    const [here, there] = [first.events.get(event_id)!.after!, second.events.get(event_id)!.after!]
    const without = (left: readonly string[], right: readonly string[]) => left.filter((id) => !right.includes(id))
    const [less, more] = [without(here, there), without(there, here)]
    if (less.length + more.length > 0) yield `state after ${event_id}: ${less.join(' ')} is not ${more.join(' ')}`
  }
}

/** What both APIs show of a state event in the same way. */
const shown = (event: Record<string, unknown>): string =>
  JSON.stringify([event['event_id'], event['sender'], event['origin_server_ts'], sorted(event['content'])])

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, inner]) => [name, sorted(inner)]))
}
