/** Whether two servers hold the same room: state, members, extremities and which events are rejected, event by event. */
import type { TestUser } from '../../test/support/test-user.js'
import { memberships, PATIENCE_MS, state } from './actions.js'
import type { Fate, Server } from './server.js'

/** A server, and a user of it who is in the room. */
export interface View {
  readonly server: Server
  readonly user: TestUser
}

/** What differs; nothing as soon as nothing does. */
export async function compareRoom(roomId: string, one: View, other: View): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const differences = await differencesNow(roomId, one, other)
    if (differences.length === 0 || performance.now() > deadline) return differences
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

async function differencesNow(roomId: string, one: View, other: View): Promise<string[]> {
  const [first, second] = await Promise.all([lookAt(roomId, one), lookAt(roomId, other)])
  const difference = (what: string, here: ReadonlyMap<string, string>, there: ReadonlyMap<string, string>) =>
    [...new Set([...here.keys(), ...there.keys()])]
      .filter((key) => here.get(key) !== there.get(key))
      .map((key) => {
        const sides = [`${one.server.kind} ${here.get(key)}`, `${other.server.kind} ${there.get(key)}`]
        return `${what} ${key}: ${sides.sort().join(', ')}`
      })
  return [
    ...difference('state', first.state, second.state),
    ...difference('member', first.members, second.members),
    ...difference('extremity', first.extremities, second.extremities),
    ...difference('fate of', common(first.fates, second.fates), common(second.fates, first.fates)),
  ]
}

interface Look {
  readonly state: ReadonlyMap<string, string>
  readonly members: ReadonlyMap<string, string>
  readonly extremities: ReadonlyMap<string, string>
  readonly fates: ReadonlyMap<string, Fate>
}

async function lookAt(roomId: string, { server, user }: View): Promise<Look> {
  const [events, members, extremities, fates] = await Promise.all([
    state(user, roomId),
    memberships(user, roomId),
    server.extremities(roomId),
    server.fates(roomId),
  ])
  return {
    state: new Map(events.map((event) => [`(${event.type}, ${event.state_key})`, shown(event)])),
    members: new Map(Object.entries(members)),
    extremities: new Map(extremities.map((eventId) => [eventId, 'has it'])),
    fates,
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

/** Which events fail softly depends on when a server hears of them, which ones are rejected does not. */
const common = (fates: ReadonlyMap<string, Fate>, others: ReadonlyMap<string, Fate>): Map<string, string> =>
  new Map([...fates].flatMap(([id, fate]) => (others.has(id) ? [[id, fate === 'rejected' ? fate : 'taken']] : [])))
