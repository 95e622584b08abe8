import { describe, expect, it } from '@jest/globals'
import { createHash } from 'node:crypto'
import { ThirdPartyInviteTooCostly } from '../../../src/protocol/authorization/index.js'
import { encodeBase64, encodeBase64Url } from '../../../src/protocol/base64.js'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import { signJson, signingKeyFromSeed } from '../../../src/protocol/signing.js'
import {
  type Expected,
  type Room,
  alice,
  bob,
  carol,
  dave,
  erin,
  event,
  expectedIn,
  judge,
  member,
  versions,
} from './room.js'

const invite = (target: string, sender: string, extra: JsonObject = {}) =>
  member(target, 'invite', { sender, content: { membership: 'invite', ...extra } })

describe.each(versions)('m.room.member invite in room version %s', (version) => {
  type Row = [
    sentence: string,
    members: Room['members'],
    levels: JsonObject | undefined,
    sender: string,
    target: string,
    Expected,
  ]
  const tooLow = 'invite: the sender is below the invite level'

  it.each<Row>([
    ['a member may invite when the room has no power levels', { [bob]: 'join' }, undefined, bob, erin, 'allowed'],
    ['the invite level is 0 by default', { [bob]: 'join' }, {}, bob, erin, 'allowed'],
    ['who left may be invited again', { [bob]: 'join', [erin]: 'leave' }, {}, bob, erin, 'allowed'],
    ['an invited user may be invited again', { [bob]: 'join', [erin]: 'invite' }, {}, bob, erin, 'allowed'],
    ['who knocks may be invited', { [bob]: 'join', [erin]: 'knock' }, {}, bob, erin, 'allowed'],
    ['the invite level is enough', { [bob]: 'join' }, { invite: 30, users: { [bob]: 30 } }, bob, erin, 'allowed'],
    [
      'below the invite level nobody may invite',
      { [bob]: 'join' },
      { invite: 30, users: { [bob]: 29 } },
      bob,
      erin,
      tooLow,
    ],
    ['a negative level is below the default', { [bob]: 'join' }, { users: { [bob]: -1 } }, bob, erin, tooLow],
    ['who is above the sender may be invited', { [bob]: 'join' }, { users: { [erin]: 100 } }, bob, erin, 'allowed'],
    ['who is invited may not invite', { [bob]: 'invite' }, {}, bob, erin, 'invite: the sender is not joined'],
    ['who left may not invite', { [bob]: 'leave' }, {}, bob, erin, 'invite: the sender is not joined'],
    ['nobody may invite themselves into a room', {}, {}, bob, bob, 'invite: the sender is not joined'],
    [
      'a joined user may not be invited',
      { [bob]: 'join', [erin]: 'join' },
      {},
      bob,
      erin,
      'invite: the target is already joined',
    ],
    [
      'a banned user may not be invited',
      { [bob]: 'join', [erin]: 'ban' },
      {},
      bob,
      erin,
      'invite: the target is banned',
    ],
    [
      'since v12 a creator may invite whatever the level',
      { [alice]: 'join' },
      { invite: 1000, users: { [bob]: 1000 } },
      alice,
      erin,
      (rules) => (rules.privilegedCreators ? 'allowed' : tooLow),
    ],
  ])('%s', (_sentence, members, levels, sender, target, expected) => {
    expect(judge(version, { members, levels }, invite(target, sender))).toBe(expectedIn(version, expected))
  })
})

const identityServer = signingKeyFromSeed('0', new Uint8Array(32).fill(7))
const ephemeral = signingKeyFromSeed('1', new Uint8Array(32).fill(8))
const stranger = signingKeyFromSeed('0', new Uint8Array(32).fill(9))
const keyText = encodeBase64(identityServer.publicKey)

const signed = (parts: JsonObject = {}, key = identityServer): JsonObject =>
  signJson({ mxid: dave, token: 'token', ...parts }, 'id.example', key)

const offer = (content: JsonObject, sender = carol, token = 'token') =>
  event({ type: 'm.room.third_party_invite', sender, stateKey: token, content })

const redeem = (thirdPartyInvite: Json) => invite(dave, carol, { third_party_invite: thirdPartyInvite })

describe.each(versions)('an invite by third-party invite in room version %s', (version) => {
  type Row = [sentence: string, third: Json, offer: JsonObject | undefined, expected: string, members?: Room['members']]
  const single = { public_key: keyText }
  const noSignature = 'third-party invite: no signature fits a key of the invite in the room'
  const noFields = 'third-party invite: no mxid or no token'

  it.each<Row>([
    ['a signature by the key of the invite is allowed', { signed: signed() }, single, 'allowed'],
    [
      'a key may be written in the URL-safe alphabet',
      { signed: signed() },
      { public_key: encodeBase64Url(identityServer.publicKey) },
      'allowed',
    ],
    [
      'a key may stand in public_keys alone',
      { signed: signed() },
      { public_keys: [{ public_key: keyText }] },
      'allowed',
    ],
    [
      'any of several keys will do',
      { signed: signed({}, ephemeral) },
      { ...single, public_keys: [{ public_key: encodeBase64(ephemeral.publicKey) }] },
      'allowed',
    ],
    [
      'any of several signatures will do',
      { signed: signJson(signed({}, stranger), 'other.example', identityServer) },
      single,
      'allowed',
    ],
    ['other keys in signed are signed too', { signed: signed({ sender: carol }) }, single, 'allowed'],
    ['what is unsigned is not covered', { signed: { ...signed(), unsigned: { age: 1 } } }, single, 'allowed'],
    ['a display name beside signed does not matter', { display_name: 'd...', signed: signed() }, single, 'allowed'],
    ['the sender need not be joined', { signed: signed() }, single, 'allowed', { [carol]: 'leave' }],
    ['a target who left may be invited', { signed: signed() }, single, 'allowed', { [dave]: 'leave' }],
    ['a joined target may be invited', { signed: signed() }, single, 'allowed', { [dave]: 'join' }],
    [
      'a banned target is rejected',
      { signed: signed() },
      single,
      'third-party invite: the target is banned',
      { [dave]: 'ban' },
    ],
    ['no signed is rejected', {}, single, 'third-party invite: no signed'],
    ['a signed that is no object is rejected', { signed: [signed()] }, single, 'third-party invite: no signed'],
    ['a third_party_invite that is null is rejected', null, single, 'third-party invite: no signed'],
    ['no token is rejected', { signed: { mxid: dave } }, single, noFields],
    ['no mxid is rejected', { signed: { token: 'token' } }, single, noFields],
    ['a token that is no string is rejected', { signed: signed({ token: 7 }) }, single, noFields],
    [
      'the mxid must be the target',
      { signed: signed({ mxid: erin }) },
      single,
      'third-party invite: mxid is not the target',
    ],
    [
      'an invite that is not in the room is rejected',
      { signed: signed() },
      undefined,
      'third-party invite: no such invite in the room',
    ],
    [
      'another token is another invite',
      { signed: signed({ token: 'other' }) },
      single,
      'third-party invite: no such invite in the room',
    ],
    ['a signature by another key is rejected', { signed: signed({}, stranger) }, single, noSignature],
    ['a signature over something else is rejected', { signed: { ...signed(), extra: 1 } }, single, noSignature],
    ['no signature at all is rejected', { signed: { mxid: dave, token: 'token' } }, single, noSignature],
    ['signatures that are a list are rejected', { signed: { ...signed(), signatures: ['x'] } }, single, noSignature],
    [
      'a signature that is a number is rejected',
      { signed: { ...signed(), signatures: { x: { 'ed25519:0': 1 } } } },
      single,
      noSignature,
    ],
    ['a signature of another algorithm is rejected', { signed: renamed(signed()) }, single, noSignature],
    ['an invite without keys is rejected', { signed: signed() }, {}, noSignature],
    ['a key of the wrong length is rejected', { signed: signed() }, { public_key: 'AAAA' }, noSignature],
    ['a key that is not base64 is rejected', { signed: signed() }, { public_key: '%' }, noSignature],
    ['keys that are texts in a list are rejected', { signed: signed() }, { public_keys: [keyText] }, noSignature],
    [
      'a float has no canonical form and cannot have been signed',
      { signed: { ...signed(), extra: 1.5 } },
      single,
      noSignature,
    ],
  ])('%s', (_sentence, third, content, expected, members = {}) => {
    const room = { members, others: content === undefined ? [] : [offer(content)] }
    expect(judge(version, room, redeem(third))).toBe(expected)
  })

  it('only who made the third-party invite may redeem it', () => {
    const room = { members: { [carol]: 'join' }, others: [offer(single, bob)] }
    expect(judge(version, room, redeem({ signed: signed() }))).toBe(
      'third-party invite: sent by somebody else than the invite in the room',
    )
  })

  it('is not about members who join with such a property', () => {
    const join = member(dave, 'join', { content: { membership: 'join', third_party_invite: null } })
    expect(judge(version, { joinRules: { join_rule: 'public' } }, join)).toBe('allowed')
  })
})

describe('the work an invite may cost', () => {
  const junkOf = (text: string, length: number) =>
    encodeBase64(createHash('sha512').update(text).digest().subarray(0, length))
  const junk = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`ed25519:${at}`, junkOf(`signature ${at}`, 64)]))
  const keys = (count: number) => Array.from({ length: count }, (_, at) => ({ public_key: junkOf(`key ${at}`, 32) }))
  const judged = (signatures: number, publicKeys: number) =>
    judge(
      '11',
      { others: [offer({ public_keys: keys(publicKeys) })] },
      redeem({ signed: { mxid: dave, token: 'token', signatures: { x: junk(signatures) } } }),
    )

  it('is not decided when too many keys meet too many signatures', () => {
    expect(() => judged(600, 900)).toThrow(ThirdPartyInviteTooCostly)
  })

  it('counts the same signature and the same key once', () => {
    const text = Object.values(signed().signatures as JsonObject)[0] as JsonObject
    const copies = Object.fromEntries(Array.from({ length: 600 }, (_, at) => [`ed25519:${at}`, text['ed25519:0']]))
    const room = { others: [offer({ public_keys: Array.from({ length: 900 }, () => ({ public_key: keyText })) })] }
    expect(judge('11', room, redeem({ signed: { ...signed(), signatures: { x: copies } } }))).toBe('allowed')
  })
})

/** The same signature under the name of an algorithm that is not Ed25519. */
function renamed(object: JsonObject): JsonObject {
  const signature = Object.values(Object.values(object.signatures as JsonObject)[0] as JsonObject)[0]
  return { ...object, signatures: { 'id.example': { 'curve25519:0': signature } } }
}
