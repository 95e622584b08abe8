import { describe, expect, it } from '@jest/globals'
import { powerLevels, redactionApplies } from '../../../src/protocol/authorization/index.js'
import {
  type Expected,
  type Room,
  alice,
  bob,
  carol,
  createEvent,
  event,
  expectedIn,
  judge,
  rulesFor,
  versions,
} from './room.js'

type Row = [sentence: string, levels: Room['levels'], redacts: string | undefined, expected: Expected]

const tooLow: Expected = (rules) =>
  rules.redactionRule
    ? 'redaction: the sender is below the redact level, and the event is of another server'
    : 'allowed'

const rows: Row[] = [
  [
    'in v1 and v2 the redact level is enough to redact an event of another server',
    { users: { [bob]: 50 } },
    '$x:two.example',
    'allowed',
  ],
  ['in v1 and v2 an event of the same server may be redacted without it', {}, '$x:one.example', 'allowed'],
  ['in v1 and v2 an event of another server may not', { users: { [bob]: 49 } }, '$x:two.example', tooLow],
  ['in v1 and v2 the redact level of the room counts', { redact: 60, users: { [bob]: 59 } }, '$x:two.example', tooLow],
  ['in v1 and v2 another port is another server', {}, '$x:one.example:8448', tooLow],
  ['in v1 and v2 a redaction of nothing is rejected', {}, undefined, tooLow],
  ['in v1 and v2 an event id without a server is of another server', {}, '$x', tooLow],
  [
    'the level required for the type counts in all versions',
    { events: { 'm.room.redaction': 10 } },
    '$x:one.example',
    'the sender is below the level required for m.room.redaction',
  ],
]

describe.each(versions)('m.room.redaction in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, levels, redacts, expected) => {
    const redaction = event({ type: 'm.room.redaction', sender: bob, redacts })
    expect(judge(version, { members: { [bob]: 'join' }, levels }, redaction)).toBe(expectedIn(version, expected))
  })
})

describe.each(versions)('an accepted redaction in room version %s', (version) => {
  const rules = rulesFor(version)
  const original = event({ eventId: '$message', type: 'm.room.message', sender: carol })
  const applies = (sender: string, parts: Partial<typeof original> = {}) =>
    redactionApplies(
      rules,
      event({ eventId: '$redaction', type: 'm.room.redaction', sender, redacts: '$message', ...parts }),
      original,
      powerLevels(
        rules,
        createEvent(version),
        event({ type: 'm.room.power_levels', sender: alice, content: { users: { [alice]: 50, [bob]: 49 } } }),
      ),
    )

  it.each<[string, string, boolean]>([
    ['takes effect when its sender has the redact level', alice, true],
    ['since v3 takes no effect when its sender is below it and of another server', bob, rules.redactionRule],
    ['takes effect when its sender is who sent the event', carol, true],
    ['takes effect when its sender is of the same server', '@erin:two.example', true],
  ])('%s', (_sentence, sender, expected) => {
    expect(applies(sender)).toBe(expected)
  })

  it('never takes effect in another room', () => {
    expect(applies(alice, { roomId: '!other:one.example' })).toBe(false)
  })

  it('never takes effect on an event it does not name', () => {
    expect(applies(alice, { redacts: '$other' })).toBe(false)
    expect(applies(alice, { redacts: undefined })).toBe(false)
  })

  it('never takes effect on the create event', () => {
    const create = { ...original, type: 'm.room.create', stateKey: '' }
    const redaction = event({ type: 'm.room.redaction', sender: alice, redacts: '$message' })
    expect(redactionApplies(rules, redaction, create, powerLevels(rules, createEvent(version), undefined))).toBe(false)
  })
})
