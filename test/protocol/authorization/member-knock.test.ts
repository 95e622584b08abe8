import { describe, expect, it } from '@jest/globals'
import type { Json } from '../../../src/protocol/json.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { type Expected, type Room, alice, bob, expectedIn, judge, member, versions } from './room.js'

type Row = [sentence: string, joinRule: Json, members: Room['members'], sender: string, expected: Expected]

const noKnocking = 'knock: the join rule is none to knock at'
const inside = 'knock: the sender is banned, invited or joined'
const since =
  (has: (rules: RoomVersionRules) => boolean, expected: string, before: string): Expected =>
  (rules) =>
    has(rules) ? expected : before
const knocking = (expected: string) => since((rules) => rules.knocking, expected, 'member: unknown membership')
const knockRestricted =
  (expected: string): Expected =>
  (rules) => {
    if (!rules.knocking) return 'member: unknown membership'
    return rules.knockRestrictedJoins ? expected : noKnocking
  }

const rows: Row[] = [
  ['since v7 a stranger may knock at a knock room', 'knock', {}, bob, knocking('allowed')],
  ['since v7 who left may knock', 'knock', { [bob]: 'leave' }, bob, knocking('allowed')],
  ['since v7 who knocked may knock again', 'knock', { [bob]: 'knock' }, bob, knocking('allowed')],
  ['a banned user may not knock', 'knock', { [bob]: 'ban' }, bob, knocking(inside)],
  ['an invited user may not knock', 'knock', { [bob]: 'invite' }, bob, knocking(inside)],
  ['a joined user may not knock', 'knock', { [bob]: 'join' }, bob, knocking(inside)],
  ['nobody may knock for somebody else', 'knock', {}, alice, knocking('knock: for somebody else than the sender')],
  ['there is no knocking at a public room', 'public', {}, bob, knocking(noKnocking)],
  ['there is no knocking at an invite-only room', 'invite', {}, bob, knocking(noKnocking)],
  ['there is no knocking at a restricted room', 'restricted', {}, bob, knocking(noKnocking)],
  ['there is no knocking at a room with a broken join rule', ['knock'], {}, bob, knocking(noKnocking)],
  [
    'since v10 a stranger may knock at a knock_restricted room',
    'knock_restricted',
    {},
    bob,
    knockRestricted('allowed'),
  ],
  [
    'a banned user may not knock at a knock_restricted room',
    'knock_restricted',
    { [bob]: 'ban' },
    bob,
    knockRestricted(inside),
  ],
]

describe.each(versions)('m.room.member knock in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, joinRule, members, sender, expected) => {
    const room = { joinRules: { join_rule: joinRule }, members }
    expect(judge(version, room, member(bob, 'knock', { sender }))).toBe(expectedIn(version, expected))
  })
})
