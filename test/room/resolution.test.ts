/** Forks: the engine's current state against the state that the laboratory computes naively from whole states. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { entries } from '../../src/protocol/state-trie.js'
import type { RoomName } from '../../src/store/room-names.js'
import { alice, bob, carol, dave, labRoom, type Branch, type LabEvent } from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { testRooms } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { rooms, stores } = engine
afterAll(() => engine.close())

let made = 0
const newLab = (version: string, levels = {}) =>
  labRoom({ version, name: `f${made}`, create: { made: made++ }, members: [bob, carol, dave], levels })

async function fed(lab: Branch, order: readonly LabEvent[] = lab.events): Promise<RoomName> {
  const arrivals = order.map(({ event, text }) => ({ event, text, kind: 'live' as const }))
  const name = await rooms.adopt(arrivals[0]!, lab.rules.version)
  for (const result of await rooms.receiveAll(name, arrivals.slice(1))) {
    if (result.status === 'rejected') throw result.reason
  }
  return name
}

async function stateOf(name: RoomName): Promise<string[]> {
  const { head } = await rooms.head(name)
  const all = await stores.states.work(name.room, (segments) => entries(segments, head.state))
  const events = await stores.events.events(
    name.room,
    all.map(([, event]) => event),
  )
  return [...events.values()].map(({ event }) => event.eventId).sort()
}

const expected = (lab: Branch) => [...lab.state.values()].sort()

describe.each(roomVersionNames)('in a room of version %s', (version) => {
  it('topics set on two branches', async () => {
    const lab = newLab(version, { users: { [bob]: 50, [carol]: 50 } })
    const [left, right] = lab.fork() as [Branch, Branch]
    left.topic(bob, 'left')
    right.topic(carol, 'right')
    lab.merge(left, right).say(alice, 'both')
    expect(await stateOf(await fed(lab))).toEqual(expected(lab))
  })

  it('a ban against a topic of the banned', async () => {
    const lab = newLab(version, { users: { [bob]: 50, [carol]: 50 } })
    const [left, right] = lab.fork() as [Branch, Branch]
    left.ban(alice, bob)
    right.topic(bob, 'still here')
    right.topic(bob, 'and here')
    lab.merge(left, right).say(alice, 'both')
    expect(await stateOf(await fed(lab))).toEqual(expected(lab))
  })

  it('a rule against the one before it, with a profile of all branches between them', async () => {
    const lab = newLab(version, { users: { [bob]: 50 } })
    const older = lab.joinRules(bob, { join_rule: 'invite' })
    lab.join(alice, { displayname: 'Alice' })
    const [left, right] = lab.fork() as [Branch, Branch]
    const newer = left.joinRules(alice, { join_rule: 'public' })
    right.say(carol, 'meanwhile')
    lab.merge(left, right).say(alice, 'both')
    const state = await stateOf(await fed(lab))
    expect(state).toEqual(expected(lab))
    // The profile is no part of the auth difference, so that the higher sender comes first; since v12 it lies on a path.
    const comesOut = version === '1' || version === '12' ? newer : older
    expect([older.eventId, newer.eventId].filter((eventId) => state.includes(eventId))).toEqual([comesOut.eventId])
  })

  it('a demotion against what the demoted did, merged twice', async () => {
    const lab = newLab(version, { users: { [bob]: 99, [carol]: 50 } })
    const [left, right, third] = lab.fork(3) as [Branch, Branch, Branch]
    left.levels(alice, left.levelsWith({ users: { [bob]: 0, [carol]: 50 } }))
    right.kick(bob, carol)
    right.levels(bob, right.levelsWith({ users: { [bob]: 99, [dave]: 50 } }))
    third.topic(carol, 'third')
    const merged = lab.fork(1)[0]!.merge(left, right)
    merged.say(alice, 'merged')
    right.joinRules(bob, { join_rule: 'invite' })
    lab.merge(merged, right, third).say(alice, 'all')
    expect(await stateOf(await fed(lab))).toEqual(expected(lab))
  })
})
