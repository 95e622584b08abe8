import { describe, expect, it } from '@jest/globals'
import { isRoomVersionName } from '../../src/protocol/identifiers.js'
import {
  defaultRoomVersion,
  roomVersionNames,
  rulesOf,
  type RoomVersionRules,
} from '../../src/protocol/room-versions.js'

/** The versions in which a rule holds, written as the specification tells them. */
const since = (first: number) => Array.from({ length: 13 - first }, (_, at) => String(first + at))
const until = (last: number) => Array.from({ length: last }, (_, at) => String(1 + at))

describe('the table of room versions', () => {
  it('has the twelve stable versions and makes new rooms in version 12', () => {
    expect(roomVersionNames).toEqual(until(12))
    expect(defaultRoomVersion).toBe('12')
    expect(roomVersionNames.every(isRoomVersionName)).toBe(true)
    for (const name of roomVersionNames) expect(rulesOf(name)?.version).toBe(name)
  })

  it.each(['13', '0', '', '1.0', 'constructor', '__proto__', 'org.matrix.hydra.11'])(
    'does not know version %j',
    (name) => {
      expect(rulesOf(name)).toBeUndefined()
    },
  )

  it.each<[keyof RoomVersionRules, string[]]>([
    ['roomIdIsCreateHash', since(12)],
    ['strictCanonicalJson', since(6)],
    ['redactsInContent', since(11)],
    ['eventIdServerSigns', until(2)],
    ['enforcesKeyValidity', since(5)],
    ['creatorInCreateContent', until(10)],
    ['additionalCreators', since(12)],
    ['privilegedCreators', since(12)],
    ['createInAuthEvents', until(11)],
    ['aliasesRule', until(5)],
    ['redactionRule', until(2)],
    ['notificationLevelsChecked', since(6)],
    ['knocking', since(7)],
    ['restrictedJoins', since(8)],
    ['knockRestrictedJoins', since(10)],
    ['integerPowerLevels', since(10)],
    ['floatPowerLevels', until(5)],
    ['keepsOriginMembershipPrevState', until(10)],
    ['keepsAliases', until(5)],
    ['keepsAllow', since(8)],
    ['keepsJoinAuthorisedViaUsersServer', since(9)],
    ['keepsCreateContent', since(11)],
    ['keepsInviteLevel', since(11)],
    ['keepsRedacts', since(11)],
    ['keepsThirdPartyInviteSigned', since(11)],
  ])('%s holds in the versions the specification names', (rule, versions) => {
    expect(roomVersionNames.filter((name) => rulesOf(name)![rule] === true)).toEqual(versions)
  })

  it('changes formats and state resolution where the specification does', () => {
    const row = (name: string) => {
      const { eventIdFormat, eventReferenceFormat, stateResolution } = rulesOf(name)!
      return [eventIdFormat, eventReferenceFormat, stateResolution]
    }
    expect(row('1')).toEqual(['in-pdu', 'id-and-hash', 'v1'])
    expect(row('2')).toEqual(['in-pdu', 'id-and-hash', 'v2'])
    expect(row('3')).toEqual(['hash-base64', 'id', 'v2'])
    for (const name of ['4', '5']) expect(row(name)).toEqual(['hash-base64url', 'id', 'v2'])
    for (const name of ['6', '7', '8', '9', '10', '11']) expect(row(name)).toEqual(['hash-base64url', 'id', 'v2'])
    expect(row('12')).toEqual(['hash-base64url', 'id', 'v2.1'])
  })
})
