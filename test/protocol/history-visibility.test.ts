import { describe, expect, it } from '@jest/globals'
import {
  type HistoryVisibility,
  type Readability,
  historyVisibilityOf,
  readabilityOf,
  readabilityOfEvent,
  strongestMembership,
} from '../../src/protocol/history-visibility.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'

const bob = '@bob:one.example'
const carol = '@carol:two.example'

describe('the history visibility of a room', () => {
  it.each<[string, JsonObject | undefined, HistoryVisibility]>([
    ['is shared without an event', undefined, 'shared'],
    ['is shared when the event names none', {}, 'shared'],
    ['is shared when the event names an unknown one', { history_visibility: 'org.example.secret' }, 'shared'],
    ['is shared when the event names no string', { history_visibility: ['joined'] }, 'shared'],
    ['is shared when the event names null', { history_visibility: null }, 'shared'],
    ['is not read in other letters', { history_visibility: 'Joined' }, 'shared'],
    ['is not inherited', JSON.parse('{"__proto__": {"history_visibility": "joined"}}') as JsonObject, 'shared'],
    ['can be shared', { history_visibility: 'shared' }, 'shared'],
    ['can be world_readable', { history_visibility: 'world_readable' }, 'world_readable'],
    ['can be invited', { history_visibility: 'invited' }, 'invited'],
    ['can be joined', { history_visibility: 'joined' }, 'joined'],
  ])('%s', (_sentence, content, expected) => {
    expect(historyVisibilityOf(content === undefined ? undefined : { content })).toBe(expected)
  })
})

const memberships = ['join', 'invite', 'knock', 'leave', 'ban', 'lurk', undefined] as const

const whoReads: Record<HistoryVisibility, (membership: string | undefined) => Readability> = {
  world_readable: () => 'always',
  shared: (membership) => (membership === 'join' ? 'always' : 'if-joined-later'),
  invited: (membership) => (membership === 'join' || membership === 'invite' ? 'always' : 'never'),
  joined: (membership) => (membership === 'join' ? 'always' : 'never'),
}

const cases = Object.entries(whoReads).flatMap(([visibility, of]) =>
  memberships.map(
    (membership) => [visibility as HistoryVisibility, String(membership), membership, of(membership)] as const,
  ),
)

describe('an event', () => {
  it.each(cases)('when history is %s and the membership was %s', (visibility, _name, membership, expected) => {
    expect(readabilityOf({ visibility, membership })).toBe(expected)
    expect(readabilityOfEvent(message, isBob, { visibility, membership })).toBe(expected)
  })
})

describe('a server', () => {
  it.each([
    ['reads as who is joined', ['leave', 'invite', 'join'], 'join'],
    ['reads as who is invited when nobody is joined', ['leave', 'invite', undefined], 'invite'],
    ['reads as a stranger when its users have left', ['leave', 'ban', 'knock'], undefined],
    ['reads as a stranger when it has no users', [], undefined],
  ])('%s', (_sentence, memberships, expected) => {
    expect(strongestMembership(memberships)).toBe(expected)
  })

  it('sees the memberships of each of its users begin and end', () => {
    const isOfOne = (userId: string) => userId.endsWith(':one.example')
    const before = { visibility: 'joined', membership: undefined } as const
    expect(readabilityOfEvent(memberEvent(bob, 'join'), isOfOne, before)).toBe('always')
    expect(readabilityOfEvent(memberEvent(carol, 'join'), isOfOne, before)).toBe('never')
  })
})

const isBob = (userId: string) => userId === bob
const message = { type: 'm.room.message', stateKey: undefined, content: {} }
const memberEvent = (userId: string, membership: Json) => ({
  type: 'm.room.member',
  stateKey: userId,
  content: { membership },
})
const visibilityEvent = (visibility: Json, stateKey = '') => ({
  type: 'm.room.history_visibility',
  stateKey,
  content: { history_visibility: visibility },
})

describe('an event that changes who may read', () => {
  type Row = [
    sentence: string,
    event: Parameters<typeof readabilityOfEvent>[0],
    before: [HistoryVisibility, string | undefined],
    joinedLater: boolean,
    expected: boolean,
  ]
  it.each<Row>([
    ['one always sees one’s own join', memberEvent(bob, 'join'), ['joined', undefined], false, true],
    ['one sees one’s own join after an invite', memberEvent(bob, 'join'), ['joined', 'invite'], false, true],
    ['one sees oneself leave', memberEvent(bob, 'leave'), ['joined', 'join'], false, true],
    ['one sees oneself be kicked or banned', memberEvent(bob, 'ban'), ['joined', 'join'], false, true],
    [
      'one sees one’s own invite when history is for the invited',
      memberEvent(bob, 'invite'),
      ['invited', undefined],
      false,
      true,
    ],
    [
      'one sees one’s own invite end when history is for the invited',
      memberEvent(bob, 'leave'),
      ['invited', 'invite'],
      false,
      true,
    ],
    [
      'one does not see one’s own invite when history is for the joined',
      memberEvent(bob, 'invite'),
      ['joined', 'leave'],
      false,
      false,
    ],
    [
      'one does not see oneself be banned without having been there',
      memberEvent(bob, 'ban'),
      ['joined', undefined],
      false,
      false,
    ],
    [
      'one sees one’s own ban in shared history after joining again',
      memberEvent(bob, 'ban'),
      ['shared', 'leave'],
      true,
      true,
    ],
    [
      'one does not see one’s own unban in shared history before joining again',
      memberEvent(bob, 'leave'),
      ['shared', 'ban'],
      false,
      false,
    ],
    ['the join of somebody else lets nobody in', memberEvent(carol, 'join'), ['joined', undefined], false, false],
    ['a broken membership of one’s own lets nobody in', memberEvent(bob, ['join']), ['joined', 'leave'], false, false],
    [
      'a message with a user id for a type lets nobody in',
      { ...message, type: bob },
      ['joined', 'leave'],
      false,
      false,
    ],
    [
      'everybody sees history become world-readable',
      visibilityEvent('world_readable'),
      ['joined', undefined],
      false,
      true,
    ],
    [
      'everybody sees history cease to be world-readable',
      visibilityEvent('joined'),
      ['world_readable', undefined],
      false,
      true,
    ],
    ['the invited see history become theirs', visibilityEvent('invited'), ['joined', 'invite'], false, true],
    ['the invited see history cease to be theirs', visibilityEvent('joined'), ['invited', 'invite'], false, true],
    ['who joins later sees history become shared', visibilityEvent('shared'), ['joined', 'leave'], true, true],
    ['who joins later sees history cease to be shared', visibilityEvent('joined'), ['shared', 'leave'], true, true],
    [
      'who never joins does not see history become shared',
      visibilityEvent('shared'),
      ['joined', 'leave'],
      false,
      false,
    ],
    ['an unknown visibility is shared', visibilityEvent('org.example.secret'), ['joined', undefined], true, true],
    [
      'strangers do not see history change between the invited and the joined',
      visibilityEvent('invited'),
      ['joined', undefined],
      true,
      false,
    ],
    [
      'a visibility under another state key changes nothing',
      visibilityEvent('world_readable', 'x'),
      ['joined', undefined],
      true,
      false,
    ],
  ])('%s', (_sentence, event, [visibility, membership], joinedLater, expected) => {
    const readability = readabilityOfEvent(event, isBob, { visibility, membership })
    expect(readability === 'always' || (readability === 'if-joined-later' && joinedLater)).toBe(expected)
  })
})
