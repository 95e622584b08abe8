import { describe, expect, it } from '@jest/globals'
import { joinAuthorisedVia } from '../../../src/protocol/authorization/index.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { alice, bob, event, judge, member, parse, rulesFor, versions } from './room.js'

describe.each(versions)('m.room.member in room version %s', (version) => {
  it.each<[string, JsonObject, string]>([
    ['no membership is rejected', {}, 'member: no membership'],
    [
      'a membership inherited from __proto__ is none',
      parse('{"__proto__": {"membership": "join"}}'),
      'member: no membership',
    ],
    ['an unknown membership is rejected', { membership: 'lurk' }, 'member: unknown membership'],
    ['a membership that is no string is rejected', { membership: ['join'] }, 'member: unknown membership'],
    ['a membership that is null is rejected', { membership: null }, 'member: unknown membership'],
    ['an upper case membership is another one', { membership: 'JOIN' }, 'member: unknown membership'],
  ])('%s', (_sentence, content, expected) => {
    expect(judge(version, {}, member(alice, 'join', { content }))).toBe(expected)
  })

  it('a member event must be a state event', () => {
    const join = event({ type: 'm.room.member', sender: alice, content: { membership: 'join' } })
    expect(judge(version, {}, join)).toBe('member: no state_key')
  })

  it('the sender need not be above the level for state to leave', () => {
    const room = { members: { [bob]: 'join' }, levels: { state_default: 100, events: { 'm.room.member': 100 } } }
    expect(judge(version, room, member(bob, 'leave'))).toBe('allowed')
  })

  it('names the server that must have signed too, since v8', () => {
    const via = (content: JsonObject) => joinAuthorisedVia(rulesFor(version), member(bob, 'join', { content }))
    const since8 = rulesFor(version).restrictedJoins
    expect(via({ membership: 'join' })).toBeUndefined()
    expect(via({ membership: 'join', join_authorised_via_users_server: alice })).toBe(since8 ? alice : undefined)
    expect(via({ membership: 'leave', join_authorised_via_users_server: alice })).toBe(since8 ? alice : undefined)
    expect(via({ membership: 'join', join_authorised_via_users_server: 7 })).toBe(since8 ? null : undefined)
  })

  it('asks no server to sign an event that is no membership', () => {
    const message = event({ type: 'm.room.message', sender: bob, content: { join_authorised_via_users_server: alice } })
    expect(joinAuthorisedVia(rulesFor(version), message)).toBeUndefined()
  })
})
