import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/protocol/json.js'
import { type Expected, type Room, alice, bob, carol, dave, erin, expectedIn, judge, member, versions } from './room.js'

type Row = [sentence: string, members: Room['members'], levels: JsonObject, sender: string, target: string, Expected]

const levels: JsonObject = { users: { [bob]: 50, [carol]: 50, [dave]: 40, [erin]: 10 }, kick: 40, ban: 50 }
const notJoined = 'ban: the sender is not joined'
const tooLow = 'ban: the sender is below the ban level, or the target is not below the sender'

const rows: Row[] = [
  ['a moderator may ban a joined user', { [bob]: 'join', [erin]: 'join' }, levels, bob, erin, 'allowed'],
  ['a moderator may ban an invited user', { [bob]: 'join', [erin]: 'invite' }, levels, bob, erin, 'allowed'],
  ['a moderator may ban who knocks', { [bob]: 'join', [erin]: 'knock' }, levels, bob, erin, 'allowed'],
  ['a moderator may ban who left', { [bob]: 'join', [erin]: 'leave' }, levels, bob, erin, 'allowed'],
  ['a moderator may ban who never was there', { [bob]: 'join' }, levels, bob, erin, 'allowed'],
  ['a moderator may ban again, with another reason', { [bob]: 'join', [erin]: 'ban' }, levels, bob, erin, 'allowed'],
  ['the kick level is not enough to ban', { [dave]: 'join', [erin]: 'join' }, levels, dave, erin, tooLow],
  ['a moderator may not ban their equal', { [bob]: 'join', [carol]: 'join' }, levels, bob, carol, tooLow],
  ['a moderator may not ban themselves', { [bob]: 'join' }, levels, bob, bob, tooLow],
  ['nobody may ban who is above them', { [dave]: 'join', [bob]: 'join' }, { ...levels, ban: 0 }, dave, bob, tooLow],
  ['a moderator who left may not ban', { [bob]: 'leave', [erin]: 'join' }, levels, bob, erin, notJoined],
  ['a banned moderator may not ban', { [bob]: 'ban', [erin]: 'join' }, levels, bob, erin, notJoined],
  ['the ban level is 50 by default', { [dave]: 'join', [erin]: 'join' }, { users: { [dave]: 49 } }, dave, erin, tooLow],
  [
    '50 is enough for the default ban level',
    { [dave]: 'join', [erin]: 'join' },
    { users: { [dave]: 50 } },
    dave,
    erin,
    'allowed',
  ],
  [
    'since v12 nobody may ban a creator',
    { [erin]: 'join', [alice]: 'join' },
    { users: { [erin]: 1000 } },
    erin,
    alice,
    (rules) => (rules.privilegedCreators ? tooLow : 'allowed'),
  ],
  [
    'since v12 a creator may ban whatever the level',
    { [erin]: 'join', [alice]: 'join' },
    { users: { [erin]: 1000 }, ban: 2000 },
    alice,
    erin,
    (rules) => (rules.privilegedCreators ? 'allowed' : tooLow),
  ],
]

describe.each(versions)('m.room.member ban in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, members, content, sender, target, expected) => {
    const ban = member(target, 'ban', { sender })
    expect(judge(version, { members, levels: content }, ban)).toBe(expectedIn(version, expected))
  })

  it('lets the creator ban in a room without power levels', () => {
    const room = { members: { [alice]: 'join', [bob]: 'join' } }
    expect(judge(version, room, member(bob, 'ban', { sender: alice }))).toBe('allowed')
    expect(judge(version, room, member(alice, 'ban', { sender: bob }))).toBe(tooLow)
  })
})
