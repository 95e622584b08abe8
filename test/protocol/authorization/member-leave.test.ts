import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/protocol/json.js'
import { type Expected, type Room, alice, bob, carol, dave, erin, expectedIn, judge, member, versions } from './room.js'

type Row = [sentence: string, members: Room['members'], levels: JsonObject, sender: string, target: string, Expected]

const levels: JsonObject = { users: { [bob]: 50, [carol]: 50, [dave]: 40, [erin]: 10 }, kick: 40, ban: 50 }
const notOwn = 'leave: own membership is none that can be left'
const notJoined = 'leave: the sender is not joined'
const tooLow = 'leave: the sender is below the kick level, or the target is not below the sender'
const unbanTooLow = 'leave: the sender is below the ban level, and the target is banned'

const rows: Row[] = [
  // Oneself
  ['a joined user may leave', { [erin]: 'join' }, levels, erin, erin, 'allowed'],
  ['an invited user may decline', { [erin]: 'invite' }, levels, erin, erin, 'allowed'],
  [
    'since v7 a knock can be taken back',
    { [erin]: 'knock' },
    levels,
    erin,
    erin,
    (rules) => (rules.knocking ? 'allowed' : notOwn),
  ],
  ['a banned user may not leave, and so not unban themselves', { [erin]: 'ban' }, levels, erin, erin, notOwn],
  ['a banned moderator may not unban themselves', { [bob]: 'ban' }, levels, bob, bob, notOwn],
  ['who left may not leave again', { [erin]: 'leave' }, levels, erin, erin, notOwn],
  ['who never was there may not leave', {}, levels, erin, erin, notOwn],
  ['an unknown membership cannot be left', { [erin]: 'lurk' }, levels, erin, erin, notOwn],
  ['a membership that is no string cannot be left', { [erin]: ['join'] }, levels, erin, erin, notOwn],

  // Kick
  ['a moderator may kick a user below them', { [bob]: 'join', [erin]: 'join' }, levels, bob, erin, 'allowed'],
  ['a moderator may take back an invite', { [bob]: 'join', [erin]: 'invite' }, levels, bob, erin, 'allowed'],
  ['a moderator may refuse a knock', { [bob]: 'join', [erin]: 'knock' }, levels, bob, erin, 'allowed'],
  ['the kick level itself is enough', { [dave]: 'join', [erin]: 'join' }, levels, dave, erin, 'allowed'],
  ['a moderator may not kick their equal', { [bob]: 'join', [carol]: 'join' }, levels, bob, carol, tooLow],
  ['nobody may kick who is above them', { [dave]: 'join', [bob]: 'join' }, levels, dave, bob, tooLow],
  [
    'a user below the kick level may not kick',
    { [erin]: 'join', [dave]: 'join' },
    { ...levels, users: { [erin]: 39 } },
    erin,
    dave,
    tooLow,
  ],
  ['a moderator who left may not kick', { [bob]: 'leave', [erin]: 'join' }, levels, bob, erin, notJoined],
  ['an invited moderator may not kick', { [bob]: 'invite', [erin]: 'join' }, levels, bob, erin, notJoined],
  [
    'the kick level is 50 by default',
    { [dave]: 'join', [erin]: 'join' },
    { users: { [dave]: 49 } },
    dave,
    erin,
    tooLow,
  ],
  [
    '50 is enough for the default kick level',
    { [dave]: 'join', [erin]: 'join' },
    { users: { [dave]: 50 } },
    dave,
    erin,
    'allowed',
  ],
  [
    'who is not in users has users_default',
    { [dave]: 'join', [erin]: 'join' },
    { users: { [erin]: 59 }, users_default: 60 },
    dave,
    erin,
    'allowed',
  ],
  [
    'a creator may kick an administrator with level 99',
    { [alice]: 'join', [erin]: 'join' },
    { users: { [alice]: 100, [erin]: 99 } },
    alice,
    erin,
    'allowed',
  ],
  [
    'since v12 a creator may kick whoever is no creator',
    { [alice]: 'join', [erin]: 'join' },
    { users: { [erin]: 1000 } },
    alice,
    erin,
    (rules) => (rules.privilegedCreators ? 'allowed' : tooLow),
  ],
  [
    'since v12 nobody may kick a creator',
    { [alice]: 'join', [erin]: 'join' },
    { users: { [erin]: 1000 } },
    erin,
    alice,
    (rules) => (rules.privilegedCreators ? tooLow : 'allowed'),
  ],

  // Unban
  ['a moderator may unban', { [bob]: 'join', [erin]: 'ban' }, levels, bob, erin, 'allowed'],
  ['the kick level is not enough to unban', { [dave]: 'join', [erin]: 'ban' }, levels, dave, erin, unbanTooLow],
  [
    'the ban level is not enough to unban',
    { [bob]: 'join', [erin]: 'ban' },
    { ...levels, kick: 60 },
    bob,
    erin,
    tooLow,
  ],
  ['nobody may unban their equal', { [bob]: 'join', [carol]: 'ban' }, levels, bob, carol, tooLow],
  ['a moderator who left may not unban', { [bob]: 'leave', [erin]: 'ban' }, levels, bob, erin, notJoined],
]

describe.each(versions)('m.room.member leave in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, members, content, sender, target, expected) => {
    const leave = member(target, 'leave', { sender })
    expect(judge(version, { members, levels: content }, leave)).toBe(expectedIn(version, expected))
  })

  it('two creators cannot kick each other', () => {
    const room = {
      members: { [alice]: 'join', [bob]: 'join' },
      create: { additional_creators: [bob] },
      levels: { users_default: 100 },
    }
    expect(judge(version, room, member(bob, 'leave', { sender: alice }))).toBe(tooLow)
    expect(judge(version, room, member(alice, 'leave', { sender: bob }))).toBe(tooLow)
  })
})
