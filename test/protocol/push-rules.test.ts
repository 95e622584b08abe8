import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import {
  defaultVerdict,
  evaluate,
  predefinedRules,
  type PushContext,
  type PushRule,
  type PushRuleset,
} from '../../src/protocol/push-rules.js'

const alice = '@alice:example.org'
const bob = '@bob:example.org'

const context = (changes: Partial<PushContext> = {}): PushContext => ({
  userId: alice,
  roomMemberCount: 3,
  senderMayNotify: () => false,
  ...changes,
})

const message = (content: JsonObject, changes: JsonObject = {}): JsonObject => ({
  type: 'm.room.message',
  sender: bob,
  room_id: '!room:example.org',
  content: { msgtype: 'm.text', body: 'hello', ...content },
  ...changes,
})

const noRules: PushRuleset = { override: [], content: [], room: [], sender: [], underride: [] }

const rule = (changes: Partial<PushRule>): PushRule => ({
  rule_id: 'mine',
  default: false,
  enabled: true,
  actions: ['notify'],
  ...changes,
})

/** Whether an override rule with this one condition notifies. */
const holds = (condition: JsonObject, event: JsonObject, changes: Partial<PushContext> = {}): boolean =>
  evaluate({ ...noRules, override: [rule({ conditions: [condition] })] }, event, context(changes)).notify

describe('the predefined rules', () => {
  it('are those of the specification, in its order', () => {
    const { override, underride, ...others } = predefinedRules(alice)
    expect(override.map((rule) => rule.rule_id)).toEqual([
      '.m.rule.master',
      '.m.rule.suppress_notices',
      '.m.rule.invite_for_me',
      '.m.rule.member_event',
      '.m.rule.is_user_mention',
      '.m.rule.is_room_mention',
      '.m.rule.tombstone',
      '.m.rule.reaction',
      '.m.rule.room.server_acl',
      '.m.rule.suppress_edits',
    ])
    expect(underride.map((rule) => rule.rule_id)).toEqual([
      '.m.rule.call',
      '.m.rule.encrypted_room_one_to_one',
      '.m.rule.room_one_to_one',
      '.m.rule.message',
      '.m.rule.encrypted',
    ])
    expect(others).toEqual({ content: [], room: [], sender: [] })
  })

  it('are all enabled but the master rule, and all marked as default', () => {
    const rules = Object.values(predefinedRules(alice)).flat()
    expect(rules.filter((rule) => !rule.enabled).map((rule) => rule.rule_id)).toEqual(['.m.rule.master'])
    expect(rules.every((rule) => rule.default)).toBe(true)
  })

  it('name the user where the specification says so', () => {
    const rules = predefinedRules(alice).override
    expect(rules[2]!.conditions![2]).toEqual({ kind: 'event_match', key: 'state_key', pattern: alice })
    expect(rules[4]).toEqual({
      rule_id: '.m.rule.is_user_mention',
      default: true,
      enabled: true,
      conditions: [{ kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: alice }],
      actions: ['notify', { set_tweak: 'sound', value: 'default' }, { set_tweak: 'highlight' }],
    })
  })

  it.each<[string, JsonObject, Partial<PushContext>, JsonObject | undefined]>([
    ['a message notifies', message({}), {}, {}],
    ['a message among two makes a sound', message({}), { roomMemberCount: 2 }, { sound: 'default' }],
    ['a notice does not notify', message({ msgtype: 'm.notice' }), {}, undefined],
    ['an own message does not notify', message({}, { sender: alice }), {}, undefined],
    ['an encrypted event notifies', message({}, { type: 'm.room.encrypted' }), {}, {}],
    [
      'an encrypted event among two makes a sound',
      message({}, { type: 'm.room.encrypted' }),
      { roomMemberCount: 2 },
      { sound: 'default' },
    ],
    ['a call rings', message({}, { type: 'm.call.invite' }), {}, { sound: 'ring' }],
    [
      'a mention highlights with a sound',
      message({ 'm.mentions': { user_ids: [bob, alice] } }),
      {},
      { sound: 'default', highlight: true },
    ],
    ['a mention of another does not highlight', message({ 'm.mentions': { user_ids: [bob] } }), {}, {}],
    [
      'a mention of the room by one who may highlights',
      message({ 'm.mentions': { room: true } }),
      { senderMayNotify: (key) => key === 'room' },
      { highlight: true },
    ],
    ['a mention of the room by one who may not only notifies', message({ 'm.mentions': { room: true } }), {}, {}],
    ['the name in the body is no mention', message({ body: `hello alice ${alice}` }), { displayName: 'alice' }, {}],
    ['an edit does not notify', message({ 'm.relates_to': { rel_type: 'm.replace' } }), {}, undefined],
    [
      'an edit that mentions the user does',
      message({ 'm.relates_to': { rel_type: 'm.replace' }, 'm.mentions': { user_ids: [alice] } }),
      {},
      { sound: 'default', highlight: true },
    ],
    ['a reaction does not notify', message({}, { type: 'm.reaction' }), {}, undefined],
    [
      'an invite of the user makes a sound',
      message({ membership: 'invite' }, { type: 'm.room.member', state_key: alice }),
      {},
      { sound: 'default' },
    ],
    [
      'an invite of another does not notify',
      message({ membership: 'invite' }, { type: 'm.room.member', state_key: bob }),
      {},
      undefined,
    ],
    ['a tombstone highlights', message({}, { type: 'm.room.tombstone', state_key: '' }), {}, { highlight: true }],
    ['a tombstone that is no state event does not notify', message({}, { type: 'm.room.tombstone' }), {}, undefined],
    ['server ACLs do not notify', message({}, { type: 'm.room.server_acl', state_key: '' }), {}, undefined],
    ['other state does not notify', message({}, { type: 'm.room.topic', state_key: '' }), {}, undefined],
  ])('%s', (_sentence, event, changes, tweaks) => {
    const verdict = evaluate(predefinedRules(alice), event, context(changes))
    expect(verdict.notify).toBe(tweaks !== undefined)
    expect(verdict.tweaks).toEqual(tweaks ?? {})
    expect(verdict.highlight).toBe(tweaks?.highlight === true)
  })
})

describe('rules', () => {
  it('are tried kind by kind, and within a kind in their order', () => {
    const sounding = (value: string, changes: Partial<PushRule> = {}) =>
      rule({ actions: ['notify', { set_tweak: 'sound', value }], ...changes })
    const kinds: PushRuleset = {
      override: [sounding('override', { conditions: [] })],
      content: [sounding('content', { pattern: 'hello' }), sounding('second', { pattern: 'h*' })],
      room: [sounding('room', { rule_id: '!room:example.org' })],
      sender: [sounding('sender', { rule_id: bob })],
      underride: [sounding('underride')],
    }
    const soundOf = (ruleset: PushRuleset) => evaluate(ruleset, message({}), context()).tweaks.sound
    expect(soundOf(kinds)).toBe('override')
    expect(soundOf({ ...kinds, override: [] })).toBe('content')
    expect(soundOf({ ...kinds, override: [], content: kinds.content.slice(1) })).toBe('second')
    expect(soundOf({ ...kinds, override: [], content: [] })).toBe('room')
    expect(soundOf({ ...kinds, override: [], content: [], room: [] })).toBe('sender')
    expect(soundOf({ ...noRules, underride: kinds.underride })).toBe('underride')
  })

  it('that are disabled do not match', () => {
    const off = { ...noRules, override: [rule({ enabled: false })] }
    expect(evaluate(off, message({}), context()).notify).toBe(false)
  })

  it('of rooms and senders match their own only', () => {
    const other = { ...noRules, room: [rule({ rule_id: '!other:example.org' })], sender: [rule({ rule_id: '@eve:x' })] }
    expect(evaluate(other, message({}), context()).notify).toBe(false)
  })

  it('with the master rule enabled silence everything', () => {
    const rules = predefinedRules(alice)
    const override = rules.override.map((rule) => ({ ...rule, enabled: true }))
    const mention = message({ 'm.mentions': { user_ids: [alice] } })
    expect(evaluate({ ...rules, override }, mention, context()).notify).toBe(false)
  })

  it('ignore the historical actions', () => {
    const actions = ['dont_notify', 'coalesce', { set_tweak: 'highlight', value: false }]
    const verdict = evaluate({ ...noRules, override: [rule({ actions })] }, message({}), context())
    expect(verdict).toEqual({
      notify: false,
      highlight: false,
      actions: [{ set_tweak: 'highlight', value: false }],
      tweaks: { highlight: false },
    })
  })

  it('pass tweaks they do not know', () => {
    const actions: Json[] = [
      'notify',
      { set_tweak: '__proto__', value: 1 },
      { set_tweak: 'light', value: { on: true } },
    ]
    const verdict = evaluate(
      { ...noRules, override: [rule({ actions: actions as PushRule['actions'] })] },
      message({}),
      context(),
    )
    expect(Object.entries(verdict.tweaks)).toEqual([
      ['__proto__', 1],
      ['light', { on: true }],
    ])
  })
})

describe('a condition', () => {
  it.each<[string, JsonObject, JsonObject, boolean]>([
    ['event_match ignores case', { key: 'content.topic', pattern: 'lunc?*' }, { topic: 'Lunch plans' }, true],
    ['event_match is of the whole value', { key: 'content.topic', pattern: 'lunc?*' }, { topic: ' lunch' }, false],
    ['event_match needs a string', { key: 'content.topic', pattern: '*' }, { topic: 5 }, false],
    ['event_match needs a value', { key: 'content.topic', pattern: '*' }, {}, false],
    ['event_match needs a pattern', { key: 'content.body' }, {}, false],
    ['event_match needs a pattern that is a string', { key: 'content.body', pattern: 1 }, {}, false],
    ['event_match needs a key', { pattern: '*' }, {}, false],
    ['event_match finds words of the body', { key: 'content.body', pattern: 'ex*ple' }, { body: 'An example.' }, true],
    ['event_match finds no parts of words', { key: 'content.body', pattern: 'amp' }, { body: 'An example.' }, false],
    ['event_match reads no prototypes', { key: 'content.constructor.name', pattern: '*' }, {}, false],
    ['event_match does not read into strings', { key: 'content.body.length', pattern: '*' }, {}, false],
  ])('%s', (_sentence, condition, content, expected) => {
    expect(holds({ kind: 'event_match', ...condition }, message(content))).toBe(expected)
  })

  it.each<[Json, Json | undefined, boolean]>([
    [true, true, true],
    [true, 'true', false],
    [true, 1, false],
    [1, 1, true],
    [null, null, true],
    [null, undefined, false],
    ['a', 'A', false],
    [['a'], ['a'], false],
    [1.5, 1.5, false],
  ])('event_property_is %j for %j: %j', (value, inEvent, expected) => {
    const condition = { kind: 'event_property_is', key: 'content.m\\.federate', value }
    expect(holds(condition, message({ 'm.federate': inEvent }))).toBe(expected)
  })

  it.each<[Json, Json | undefined, boolean]>([
    ['#b:x', ['#a:x', '#b:x'], true],
    [':x', ['#a:x'], false],
    ['a', 'a', false],
    [1, ['1', 1], true],
    [null, [null], true],
    [null, [], false],
    [1, undefined, false],
  ])('event_property_contains %j in %j: %j', (value, inEvent, expected) => {
    const condition = { kind: 'event_property_contains', key: 'content.list', value }
    expect(holds(condition, message({ list: inEvent }))).toBe(expected)
  })

  it.each<[Json, number, boolean]>([
    ['2', 2, true],
    ['2', 3, false],
    ['==2', 2, true],
    ['<2', 1, true],
    ['<2', 2, false],
    ['<=2', 2, true],
    ['>2', 3, true],
    ['>2', 2, false],
    ['>=2', 2, true],
    ['>=2', 1, false],
    [2, 2, false],
    ['= 2', 2, false],
    ['', 0, false],
    ['!2', 3, false],
  ])('room_member_count %j in a room of %d: %j', (is, roomMemberCount, expected) => {
    expect(holds({ kind: 'room_member_count', is }, message({}), { roomMemberCount })).toBe(expected)
  })

  it.each<[string, string | undefined, boolean]>([
    ['hello Alice!', 'alice', true],
    ['malice', 'alice', false],
    ['a*e', 'a*e', true],
    ['apple', 'a*e', false],
    ['hello', '', false],
    ['hello', undefined, false],
  ])('contains_display_name in %j of %j: %j', (body, displayName, expected) => {
    expect(holds({ kind: 'contains_display_name' }, message({ body }), { displayName })).toBe(expected)
  })

  it('sender_notification_permission asks for the level of its key', () => {
    const asked: string[] = []
    const senderMayNotify = (key: string) => asked.push(key) > 0
    expect(holds({ kind: 'sender_notification_permission', key: 'room' }, message({}), { senderMayNotify })).toBe(true)
    expect(holds({ kind: 'sender_notification_permission' }, message({}), { senderMayNotify })).toBe(false)
    expect(asked).toEqual(['room'])
  })

  it('of an unknown kind never holds', () => {
    expect(holds({ kind: 'org.example.moon_phase' }, message({}))).toBe(false)
    expect(holds({}, message({}))).toBe(false)
  })

  it('must hold together with all others of its rule', () => {
    const conditions = [
      { kind: 'event_match', key: 'type', pattern: 'm.room.*' },
      { kind: 'event_match', key: 'type', pattern: 'm.other' },
    ]
    expect(evaluate({ ...noRules, override: [rule({ conditions })] }, message({}), context()).notify).toBe(false)
  })
})

describe('the default verdict', () => {
  const users = [alice, bob, '@carol:example.org', '@dave:other.example']
  const anyType = fc.constantFrom(
    ...['m.room.message', 'm.room.encrypted', 'm.call.invite', 'm.reaction', 'm.room.member', 'm.room.tombstone'],
    ...['m.room.server_acl', 'm.room.topic', 'M.Room.Message', 'org.example.custom', ''],
  )
  const mostly = <T>(arbitrary: fc.Arbitrary<T>) =>
    fc.oneof(
      { weight: 5, arbitrary: arbitrary as fc.Arbitrary<unknown> },
      { weight: 1, arbitrary: fc.constantFrom(undefined, null, 1, true, 'x', [], {}) as fc.Arbitrary<unknown> },
    ) as fc.Arbitrary<Json>
  const anyContent = fc.record(
    {
      msgtype: mostly(fc.constantFrom('m.text', 'm.notice', 'M.NOTICE')),
      membership: mostly(fc.constantFrom('invite', 'join', 'Invite')),
      'm.mentions': mostly(
        fc.record(
          { user_ids: mostly(fc.array(mostly(fc.constantFrom(...users)))), room: mostly(fc.boolean()) },
          { requiredKeys: [] },
        ),
      ),
      'm.relates_to': mostly(
        fc.record({ rel_type: mostly(fc.constantFrom('m.replace', 'm.thread')) }, { requiredKeys: [] }),
      ),
    },
    { requiredKeys: [] },
  )

  it('agrees with the predefined rules of every user but the sender', () => {
    fc.assert(
      fc.property(
        anyType,
        fc.constantFrom(...users),
        fc.option(fc.constantFrom('', ...users), { nil: undefined }),
        anyContent,
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        (type, sender, stateKey, content, roomMemberCount, mentionsRoomAllowed) => {
          const verdict = defaultVerdict({ type, sender, stateKey, content, roomMemberCount, mentionsRoomAllowed })
          const event = { type, sender, content, ...(stateKey === undefined ? {} : { state_key: stateKey }) }
          for (const userId of users.filter((user) => user !== sender)) {
            const mentioned = verdict.mentioned.includes(userId)
            const { notify, highlight } = evaluate(predefinedRules(userId), event, {
              userId,
              roomMemberCount,
              senderMayNotify: () => mentionsRoomAllowed,
            })
            expect([notify, highlight]).toEqual([
              verdict.notify || mentioned || verdict.invited === userId,
              verdict.highlightAll || mentioned,
            ])
          }
        },
      ),
      { seed: 20261124, numRuns: 5_000 },
    )
  })

  it('names everybody who is mentioned once', () => {
    const content = { 'm.mentions': { user_ids: [bob, alice, bob, 7, null] } }
    const event = { type: 'm.room.message', sender: bob, content, roomMemberCount: 3, mentionsRoomAllowed: false }
    expect(defaultVerdict(event)).toEqual({ notify: true, highlightAll: false, mentioned: [bob, alice] })
  })
})
