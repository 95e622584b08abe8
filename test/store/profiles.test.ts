import { beforeAll, describe, expect, it } from '@jest/globals'
import { insertAccount } from '../../src/store/accounts.js'
import { noteTold, profile, profileVersion, setProfileField, untoldProfiles } from '../../src/store/profiles.js'
import type { Json } from '../../src/protocol/json.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const users = ['@alice:test', '@bob:test', '@carol:test', '@dave:test', '@eve:test']
const [alice, bob, carol, dave, eve] = users as [string, string, string, string, string]

const set = (user: string, key: string, value: Json | undefined) =>
  db.transaction().execute((trx) => setProfileField(trx, user, key, value))

beforeAll(async () => {
  for (const userId of users) {
    const account = { userId, passwordHash: undefined, isAdmin: false }
    await db.transaction().execute((trx) => insertAccount(trx, account, 0))
  }
})

describe('a profile', () => {
  it('is empty for who set nothing', async () => {
    expect(await profile(db, alice)).toEqual({})
    expect(await profile(db, '@nobody:test')).toEqual({})
  })

  it('keeps names, avatars and any other JSON, __proto__ keys and U+0000 in values included', async () => {
    await set(alice, 'displayname', 'Alice')
    await set(alice, 'avatar_url', 'mxc://test/abc')
    await set(alice, 'm.tz', 'Europe/London')
    const odd = JSON.parse('{"__proto__": {"a": null}, "text": "\\u0000", "list": [1.5]}') as Json
    await set(alice, 'org.example.odd', odd)
    const kept = await profile(db, alice)
    expect(kept).toEqual({
      displayname: 'Alice',
      avatar_url: 'mxc://test/abc',
      'm.tz': 'Europe/London',
      'org.example.odd': odd,
    })
    expect(Object.hasOwn(kept['org.example.odd'] as object, '__proto__')).toBe(true)
  })

  it('loses a field that is deleted, and null is a value', async () => {
    await set(bob, 'org.example.a', null)
    expect(await profile(db, bob)).toEqual({ 'org.example.a': null })
    await set(bob, 'org.example.a', undefined)
    expect(await profile(db, bob)).toEqual({})
  })

  it('is refused from 64 KiB on and keeps what it was', async () => {
    await set(carol, 'displayname', 'Carol')
    expect(await set(carol, 'org.example.big', 'x'.repeat(65_536))).toBe('too large')
    expect(await set(carol, 'org.example.big', 'x'.repeat(65_000))).toBe('changed')
    expect(await set(carol, 'org.example.more', 'x'.repeat(1_000))).toBe('too large')
    expect(Object.keys(await profile(db, carol))).toEqual(['org.example.big', 'displayname'])
  })

  it('loses no field when two are set at once', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, i) => set(dave, `org.example.f${i}`, i)))
    expect(Object.keys(await profile(db, dave))).toHaveLength(8)
  })
})

describe('what rooms have to be told', () => {
  it('is a change of the display name or the avatar, until all rooms know', async () => {
    expect(await set(eve, 'org.example.a', 1)).toBe('changed')
    expect((await profileVersion(db, eve))?.isTold).toBe(true)
    expect(await set(eve, 'displayname', 'Eve')).toBe('to be told')
    expect(await set(eve, 'displayname', 'Eve')).toBe('unchanged')
    const first = await profileVersion(db, eve)
    expect(await untoldProfiles(db, 10)).toContain(eve)
    await set(eve, 'displayname', 'Evelyn')
    await noteTold(db, eve, first!.version)
    expect((await profileVersion(db, eve))?.isTold).toBe(false)
    await noteTold(db, eve, first!.version + 1)
    expect((await profileVersion(db, eve))?.isTold).toBe(true)
  })
})
