import { describe, expect, it } from '@jest/globals'
import { type Expected, type Room, bob, carol, event, expectedIn, judge, versions } from './room.js'

type Row = [sentence: string, room: Room, stateKey: string | undefined, expected: Expected]

const rows: Row[] = [
  [
    'before v6 a server may announce its aliases without anybody of it in the room',
    {},
    'two.example',
    (rules) => (rules.aliasesRule ? 'allowed' : 'the sender is not joined'),
  ],
  [
    'before v6 a joined user without power may announce the aliases of their server',
    { members: { [carol]: 'join' }, levels: { state_default: 50 } },
    'two.example',
    (rules) => (rules.aliasesRule ? 'allowed' : 'the sender is below the level required for m.room.aliases'),
  ],
  [
    'before v6 a moderator may not announce the aliases of another server',
    { members: { [carol]: 'join' }, levels: { users: { [carol]: 50 } } },
    'one.example',
    (rules) => (rules.aliasesRule ? "aliases: the state_key is not the sender's server" : 'allowed'),
  ],
  [
    'before v6 aliases must be a state event',
    { members: { [carol]: 'join' }, levels: { users: { [carol]: 50 } } },
    undefined,
    (rules) => (rules.aliasesRule ? 'aliases: no state_key' : 'allowed'),
  ],
  [
    'a room that does not federate takes no aliases of other servers',
    { create: { 'm.federate': false } },
    'two.example',
    'the room does not federate, and the sender is of another server than its creator',
  ],
]

describe.each(versions)('m.room.aliases in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, room, stateKey, expected) => {
    const aliases = event({ type: 'm.room.aliases', sender: carol, stateKey, content: { aliases: [] } })
    expect(judge(version, room, aliases)).toBe(expectedIn(version, expected))
  })

  it('the sender needs a server', () => {
    const aliases = event({ type: 'm.room.aliases', sender: bob.split(':')[0]!, stateKey: '' })
    expect(judge(version, {}, aliases)).not.toBe('allowed')
  })
})
