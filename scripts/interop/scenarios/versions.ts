import { roomVersionNames } from '../../../src/protocol/room-versions.js'
import {
  hasEvent,
  inSync,
  joinVia,
  leave,
  moderate,
  redact,
  roomPath,
  same,
  sees,
  setState,
  soon,
  stateContent,
} from '../actions.js'
import type { Scenario } from '../scenario.js'

const life = (version: string): Scenario => ({
  name: `version ${version}: invite, join, state, redaction, kick, rejoin, ban, unban`,
  async play(stage) {
    const { alice, bob } = stage
    const roomId = await stage.room({ preset: 'private_chat', room_version: version })
    await moderate(alice, roomId, 'invite', bob)
    await inSync(bob, 'invite', roomId)
    await bob.join(roomId)
    await sees(alice, roomId, bob, 'join')
    const said = await bob.say(roomId, 'to be redacted')
    await hasEvent(alice, roomId, said)
    await redact(alice, roomId, said)
    const gone = async () => (await bob.ok('GET', roomPath(roomId, 'event', said))).content.body === undefined
    await soon('it is gone', gone)
    await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'public' })
    const open = async () => (await stateContent(bob, roomId, 'm.room.join_rules')).join_rule === 'public'
    await soon('bob sees the rule', open)
    await moderate(alice, roomId, 'kick', bob)
    await inSync(bob, 'leave', roomId)
    await stage.letIn(bob, roomId)
    await leave(bob, roomId)
    await sees(alice, roomId, bob, 'leave')
    await moderate(alice, roomId, 'ban', bob)
    await sees(alice, roomId, bob, 'ban')
    await moderate(alice, roomId, 'unban', bob)
    await sees(alice, roomId, bob, 'leave')
    await stage.letIn(bob, roomId)
  },
})

const upgrade = (from: string, to: string): Scenario => ({
  name: `upgrade from version ${from} to ${to}`,
  async play(stage) {
    const { alice, bob } = stage
    const old = await stage.shared({ preset: 'public_chat', room_version: from, name: 'moving' })
    const { replacement_room } = await alice.ok('POST', roomPath(old, 'upgrade'), { new_version: to })
    stage.rooms.push(replacement_room)
    const tombstone = async () => (await stateContent(bob, old, 'm.room.tombstone')).replacement_room
    same('tombstone', await soon('bob sees the tombstone', tombstone), replacement_room)
    await joinVia(bob, replacement_room, stage.home.name)
    await sees(alice, replacement_room, bob, 'join')
    same('name', (await stateContent(bob, replacement_room, 'm.room.name')).name, 'moving')
  },
})

export const versions: readonly Scenario[] = [
  ...roomVersionNames.map(life),
  ...[
    ['1', '6'],
    ['6', '11'],
    ['10', '12'],
    ['11', '12'],
    ['12', '12'],
  ].map(([from, to]) => upgrade(from!, to!)),
]
