import { describe, expect, it } from '@jest/globals'
import { powerLevels } from '../../../src/protocol/authorization/index.js'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import { alice, bob, carol, createEvent, event, parse, rulesFor, versions } from './room.js'

const levelsIn = (version: string, content: JsonObject | undefined, create: JsonObject = {}) =>
  powerLevels(
    rulesFor(version),
    createEvent(version, create),
    content === undefined ? undefined : event({ type: 'm.room.power_levels', sender: alice, stateKey: '', content }),
  )

describe.each(versions)('power levels in room version %s', (version) => {
  const { privilegedCreators, integerPowerLevels, floatPowerLevels } = rulesFor(version)

  it.each([
    ['without a power levels event', undefined],
    ['of an empty power levels event', {}],
  ])('the defaults %s', (_sentence, content) => {
    const levels = levelsIn(version, content)
    expect([levels.ban, levels.kick, levels.redact, levels.invite]).toEqual([50, 50, 50, 0])
    expect(levels.requiredFor('m.room.message', false)).toBe(0)
    expect(levels.requiredFor('m.room.name', true)).toBe(50)
    expect(levels.notifications('room')).toBe(50)
    expect(levels.levelOf(bob)).toBe(0)
  })

  it('the creator has 100 without a power levels event, and is above all since v12', () => {
    expect(levelsIn(version, undefined).levelOf(alice)).toBe(privilegedCreators ? Infinity : 100)
  })

  it('the creator has no level of their own in a power levels event before v12', () => {
    expect(levelsIn(version, {}).levelOf(alice)).toBe(privilegedCreators ? Infinity : 0)
  })

  it('additional creators are above all since v12', () => {
    const levels = levelsIn(version, { users: { [bob]: 10 } }, { additional_creators: [bob, 7] })
    expect(levels.levelOf(bob)).toBe(privilegedCreators ? Infinity : 10)
    expect(levels.levelOf(carol)).toBe(0)
  })

  it('every property is read', () => {
    const levels = levelsIn(version, {
      ban: 1,
      kick: 2,
      redact: 3,
      invite: 4,
      events_default: 5,
      state_default: 6,
      users_default: 7,
      users: { [bob]: 8 },
      events: { 'm.room.name': 9, 'm.room.message': 10 },
      notifications: { room: 11 },
    })
    expect([levels.ban, levels.kick, levels.redact, levels.invite]).toEqual([1, 2, 3, 4])
    expect([levels.requiredFor('x', false), levels.requiredFor('x', true)]).toEqual([5, 6])
    expect([levels.levelOf(carol), levels.levelOf(bob)]).toEqual([7, 8])
    expect([levels.requiredFor('m.room.name', true), levels.requiredFor('m.room.message', false)]).toEqual([9, 10])
    expect([levels.notifications('room'), levels.notifications('other')]).toEqual([11, 50])
  })

  it('a type in events counts for message and state events alike', () => {
    const levels = levelsIn(version, { events: { x: 7 }, events_default: 1, state_default: 2 })
    expect([levels.requiredFor('x', true), levels.requiredFor('x', false)]).toEqual([7, 7])
  })

  it.each<[Json, number, 'always' | 'before v10' | 'before v6' | 'never']>([
    [100, 100, 'always'],
    [-100, -100, 'always'],
    [0, 0, 'always'],
    [9007199254740991, 9007199254740991, 'always'],
    ['100', 100, 'before v10'],
    ['000100', 100, 'before v10'],
    ['+100', 100, 'before v10'],
    [' 100 ', 100, 'before v10'],
    [' 00100 ', 100, 'before v10'],
    [' +100 ', 100, 'before v10'],
    ['-100', -100, 'before v10'],
    [' -100 ', -100, 'before v10'],
    ['\t\n7', 7, 'before v10'],
    [50.57, 50, 'before v6'],
    [-50.57, -50, 'before v6'],
    [Infinity, 0, 'never'],
    ['9'.repeat(400), 0, 'never'],
    ['50.57', 0, 'never'],
    ['1e3', 0, 'never'],
    ['0x10', 0, 'never'],
    ['', 0, 'never'],
    [' ', 0, 'never'],
    ['- 1', 0, 'never'],
    ['--1', 0, 'never'],
    ['1_000', 0, 'never'],
    ['١٠٠', 0, 'never'],
    ['Infinity', 0, 'never'],
    ['fifty', 0, 'never'],
    [true, 0, 'never'],
    [[50], 0, 'never'],
    [{ level: 50 }, 0, 'never'],
  ])('a level written %j', (written, value, when) => {
    const counts =
      when === 'always' || (when === 'before v10' && !integerPowerLevels) || (when === 'before v6' && floatPowerLevels)
    const levels = levelsIn(version, { ban: written, users: { [bob]: written }, events: { x: written } })
    const expected = counts ? value : NaN
    expect([levels.ban, levels.levelOf(bob), levels.requiredFor('x', true)]).toEqual([expected, expected, expected])
  })

  it('null is as good as absent', () => {
    const levels = levelsIn(version, { ban: null, users_default: null, users: { [bob]: null }, events: { x: null } })
    expect([levels.ban, levels.levelOf(bob), levels.requiredFor('x', true)]).toEqual([50, 0, 50])
  })

  it('a map of levels that is no object makes all of its levels unreadable', () => {
    const levels = levelsIn(version, { users: [], events: 7, notifications: null })
    expect([levels.levelOf(bob), levels.requiredFor('x', true), levels.notifications('room')]).toEqual([NaN, NaN, NaN])
  })

  it('nothing is inherited', () => {
    const levels = levelsIn(version, parse('{"__proto__": {"ban": 0}, "users": {"__proto__": 77}, "events": {}}'))
    expect(levels.ban).toBe(50)
    expect(levels.levelOf('__proto__')).toBe(77)
    expect(levels.levelOf('constructor')).toBe(0)
    expect(levels.requiredFor('toString', false)).toBe(0)
    expect(levelsIn(version, { users: {} }).levelOf('__proto__')).toBe(0)
  })

  it('are read once per event', () => {
    const create = createEvent(version)
    const first = event({ type: 'm.room.power_levels', sender: alice, content: { ban: 1 } })
    const again = { ...first, content: { ban: 2 } }
    const read = (of: typeof first | undefined) => powerLevels(rulesFor(version), create, of)
    expect(read(first)).toBe(read(first))
    expect(read(undefined)).toBe(read(undefined))
    expect([read(first).ban, read(again).ban, read(undefined).ban]).toEqual([1, 2, 50])
  })

  it('are not mistaken for those of another room', () => {
    const shared = event({ type: 'm.room.power_levels', sender: alice, content: {} })
    const one = powerLevels(rulesFor(version), createEvent(version), shared)
    const other = powerLevels(rulesFor(version), { ...createEvent(version), sender: carol }, shared)
    expect([one.levelOf(carol), other.levelOf(carol)]).toEqual([0, privilegedCreators ? Infinity : 0])
  })
})
