import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { encodeBase64 } from '../../src/protocol/base64.js'
import { signingKeyFromSeed, signJson } from '../../src/protocol/signing.js'
import { startTestHomeserver, TestUser } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'

const homeserver = await startTestHomeserver()
const base = '/_matrix/client/v3'

/** Device keys of a user's device as clients make them. */
function deviceKeys(user: TestUser, changes: object = {}) {
  const key = signingKeyFromSeed(user.deviceId, randomBytes(32))
  const keys = {
    user_id: user.userId,
    device_id: user.deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [key.keyId]: encodeBase64(key.publicKey), [`curve25519:${user.deviceId}`]: encodeBase64(randomBytes(32)) },
    ...changes,
  }
  return signJson(keys, user.userId, key)
}

const oneTimeKey = (more: object = {}) => ({ key: encodeBase64(randomBytes(32)), signatures: {}, ...more })

const upload = (user: TestUser, body: object) => user.post(`${base}/keys/upload`, body)
const query = (user: TestUser, device_keys: object) => user.ok('POST', `${base}/keys/query`, { device_keys })
const claim = (user: TestUser, one_time_keys: object) => user.ok('POST', `${base}/keys/claim`, { one_time_keys })

const changedSince = async (user: TestUser, from: string) => {
  const to = await user.syncToken()
  return user.ok('GET', `${base}/keys/changes?from=${from}&to=${to}`)
}

async function logIn({ userId }: TestUser): Promise<TestUser> {
  const { body } = await new TestClient(homeserver.baseUrl).post(`${base}/login`, {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: userId },
    password: 'secret password',
  })
  return new TestUser(homeserver.baseUrl, body.access_token, userId, body.device_id)
}

describe('device keys', () => {
  it('are found by whoever asks, with the name of the device beside them', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const keys = deviceKeys(alice)
    expect((await upload(alice, { device_keys: keys })).body).toEqual({ one_time_key_counts: {} })
    await alice.ok('PUT', `${base}/devices/${alice.deviceId}`, { display_name: 'A "phone"' })
    const unsigned = { device_display_name: 'A "phone"' }
    const answer = await query(bob, { [alice.userId]: [], [bob.userId]: [], '@carol:example.org': [], nonsense: [] })
    expect(answer).toEqual({
      device_keys: { [alice.userId]: { [alice.deviceId]: { ...keys, unsigned } }, [bob.userId]: {} },
      failures: { 'example.org': {} },
    })
    const only = await query(bob, { [alice.userId]: ['OTHER', '\0'] })
    expect(only.device_keys).toEqual({ [alice.userId]: {} })
  })

  it.each<[string, (user: TestUser) => object, string]>([
    ['of another user', (user) => deviceKeys(user, { user_id: '@x:hearth.test' }), 'M_INVALID_PARAM'],
    ['of another device', (user) => deviceKeys(user, { device_id: 'X' }), 'M_INVALID_PARAM'],
    ['without an Ed25519 key', (user) => deviceKeys(user, { keys: {} }), 'M_INVALID_PARAM'],
    ['changed after they were signed', (user) => ({ ...deviceKeys(user), more: 1 }), 'M_INVALID_SIGNATURE'],
    ['without a signature', (user) => ({ ...deviceKeys(user), signatures: {} }), 'M_INVALID_SIGNATURE'],
    ['with algorithms that are no texts', (user) => deviceKeys(user, { algorithms: [1] }), 'M_BAD_JSON'],
    ['with a number no signature can cover', (user) => ({ ...deviceKeys(user), more: 1.5 }), 'M_BAD_JSON'],
  ])('%s are refused', async (_what, keys, errcode) => {
    const user = await homeserver.user()
    const { status, body } = await upload(user, { device_keys: keys(user) })
    expect([status, body.errcode]).toEqual([400, errcode])
  })

  it('that changed are told to those who share a room', async () => {
    const [alice, bob, stranger] = [await homeserver.user(), await homeserver.user(), await homeserver.user()]
    await bob.join(await alice.createRoom())
    const [from, strangers] = [await bob.syncToken(), await stranger.syncToken()]
    await upload(alice, { device_keys: deviceKeys(alice) })
    expect(await changedSince(bob, from)).toEqual({ changed: [alice.userId], left: [] })
    expect((await bob.sync({ since: from })).device_lists.changed).toContain(alice.userId)
    expect(await changedSince(stranger, strangers)).toEqual({ changed: [], left: [] })
  })

  it('that go with their device, or a name that changes, are told too', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    await bob.join(await alice.createRoom())
    const phone = await logIn(alice)
    await upload(phone, { device_keys: deviceKeys(phone) })
    let from = await bob.syncToken()
    await phone.ok('PUT', `${base}/devices/${phone.deviceId}`, { display_name: 'phone' })
    expect((await changedSince(bob, from)).changed).toEqual([alice.userId])
    from = await bob.syncToken()
    await phone.ok('POST', `${base}/logout`)
    expect((await changedSince(bob, from)).changed).toEqual([alice.userId])
    expect((await query(bob, { [alice.userId]: [] })).device_keys).toEqual({ [alice.userId]: {} })
    expect(await homeserver.database.db.selectFrom('untold_device_list').selectAll().execute()).toEqual([])
  })

  it('of those one does not share a room with any more need not be followed', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const room = await alice.createRoom()
    await bob.join(room)
    const from = await bob.syncToken()
    await bob.ok('POST', `${base}/rooms/${room}/leave`)
    expect(await changedSince(bob, from)).toEqual({ changed: [], left: [alice.userId] })
    expect(await changedSince(alice, await alice.syncToken())).toEqual({ changed: [], left: [] })
  })
})

describe('one-time keys', () => {
  it('are counted, claimed once, and replaced by the fallback key when none is left', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const [key, fallback] = [oneTimeKey(), oneTimeKey({ fallback: true })]
    const uploaded = await upload(alice, {
      one_time_keys: { 'signed_curve25519:A': key, 'curve25519:B': 'a plain one' },
      fallback_keys: { 'signed_curve25519:F': fallback },
    })
    expect(uploaded.body).toEqual({ one_time_key_counts: { signed_curve25519: 1, curve25519: 1 } })
    const asked = { [alice.userId]: { [alice.deviceId]: 'signed_curve25519', OTHER: 'signed_curve25519' } }
    const claimed = (keys: object) => ({
      one_time_keys: { [alice.userId]: { [alice.deviceId]: keys } },
      failures: {},
    })
    expect(await claim(bob, asked)).toEqual(claimed({ 'signed_curve25519:A': key }))
    expect(await claim(bob, asked)).toEqual(claimed({ 'signed_curve25519:F': fallback }))
    const plain = { [alice.userId]: { [alice.deviceId]: 'curve25519' }, '@x:example.org': { D: 'signed_curve25519' } }
    expect(await claim(bob, plain)).toEqual({
      ...claimed({ 'curve25519:B': 'a plain one' }),
      failures: { 'example.org': {} },
    })
    expect(await claim(bob, plain)).toMatchObject({ one_time_keys: {} })
    expect(await claim(bob, { [alice.userId]: { '\0': '\0' }, '@\0:hearth.test': {} })).toMatchObject({
      one_time_keys: {},
    })
  })

  it('are in every sync, with the fallback keys that are unused', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    expect((await alice.sync()).device_one_time_keys_count).toBeDefined()
    await upload(alice, {
      one_time_keys: { 'signed_curve25519:A': oneTimeKey() },
      fallback_keys: { 'signed_curve25519:F': oneTimeKey() },
    })
    const before = await alice.sync()
    expect(before.device_one_time_keys_count).toMatchObject({ signed_curve25519: 1 })
    expect(before.device_unused_fallback_key_types).toEqual(['signed_curve25519'])
    for (let i = 0; i < 2; i++) await claim(bob, { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } })
    const after = await alice.sync()
    expect(after.device_one_time_keys_count['signed_curve25519'] ?? 0).toBe(0)
    expect(after.device_unused_fallback_key_types).toEqual([])
  })

  it('may be uploaded again as they are, and not changed', async () => {
    const alice = await homeserver.user()
    const key = oneTimeKey()
    await upload(alice, { one_time_keys: { 'signed_curve25519:A': key } })
    expect((await upload(alice, { one_time_keys: { 'signed_curve25519:A': key } })).status).toBe(200)
    const { status, body } = await upload(alice, {
      device_keys: deviceKeys(alice),
      one_time_keys: { 'signed_curve25519:A': oneTimeKey() },
    })
    expect([status, body.errcode]).toEqual([400, 'M_UNKNOWN'])
    expect((await query(alice, { [alice.userId]: [] })).device_keys).toEqual({ [alice.userId]: {} })
  })

  it.each<[string, object]>([
    ['a name without a colon', { one_time_keys: { nonsense: 'x' } }],
    ['a name with U+0000', { one_time_keys: { 'a:\0': 'x' } }],
    ['a key that is a number', { one_time_keys: { 'a:b': 1 } }],
    ['a key object without a key', { one_time_keys: { 'a:b': { signatures: {} } } }],
    ['501 keys', { one_time_keys: Object.fromEntries(Array.from({ length: 501 }, (_, i) => [`a:${i}`, 'x'])) }],
    ['two fallback keys of one algorithm', { fallback_keys: { 'a:b': 'x', 'a:c': 'y' } }],
  ])('are refused with %s', async (_what, body) => {
    const alice = await homeserver.user()
    expect((await upload(alice, body)).status).toBe(400)
  })
})

describe('messages to devices', () => {
  const send = (user: TestUser, txnId: string, messages: object, type = 'm.test') =>
    user.put(`${base}/sendToDevice/${type}/${txnId}`, { messages })
  const inbox = async (user: TestUser, since?: string) => {
    const { to_device, next_batch } = await user.sync({ since })
    return { events: to_device?.events ?? [], since: next_batch as string }
  }

  it('reach the device they are for, or all of a user, in order and once', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const phone = await logIn(bob)
    await send(alice, '1', { [bob.userId]: { '*': { n: 1 } } })
    await send(alice, '2', {
      [bob.userId]: { [phone.deviceId]: { n: 2 }, NONE: { n: 3 } },
      '@x:example.org': { '*': {} },
    })
    const event = (n: number) => ({ type: 'm.test', sender: alice.userId, content: { n } })
    expect((await inbox(bob)).events).toEqual([event(1)])
    const first = await inbox(phone)
    expect(first.events).toEqual([event(1), event(2)])
    expect((await inbox(phone, first.since)).events).toEqual([])
  })

  it('are sent once however often a transaction is repeated, also at the same time', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const messages = { [bob.userId]: { [bob.deviceId]: {} } }
    await Promise.all([1, 2, 3].map(() => send(alice, 'same', messages)))
    await send(alice, 'same', messages)
    await send(alice, 'same', messages, 'm.other')
    await send(await logIn(alice), 'same', messages)
    expect((await inbox(bob)).events).toHaveLength(3)
  })

  it('are refused when they are too large, all of them', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const { status, body } = await send(alice, '1', {
      [alice.userId]: { [alice.deviceId]: {} },
      [bob.userId]: { [bob.deviceId]: { text: 'x'.repeat(65_536) } },
    })
    expect([status, body.errcode]).toEqual([413, 'M_TOO_LARGE'])
    expect((await inbox(alice)).events).toEqual([])
  })
})

describe('what clients ask when they start', () => {
  it('is answered', async () => {
    const alice = await homeserver.user()
    expect(await alice.ok('GET', `${base}/voip/turnServer`)).toEqual({})
    expect(await alice.ok('GET', `${base}/thirdparty/protocols`)).toEqual({})
    expect(await alice.ok('GET', `${base}/pushers`)).toEqual({ pushers: [] })
    const rules = await alice.ok('GET', `${base}/pushrules/`)
    expect(Object.keys(rules.global)).toEqual(['override', 'content', 'room', 'sender', 'underride'])
    expect(await alice.ok('GET', `${base}/pushrules`)).toEqual(rules)
    expect(await alice.ok('GET', `${base}/pushrules/global/`)).toEqual(rules.global)
    const path = `${base}/pushrules/global/override/.m.rule.master`
    expect(await alice.ok('GET', path)).toEqual(rules.global.override[0])
    expect(await alice.ok('GET', `${path}/enabled`)).toEqual({ enabled: false })
    expect(await alice.ok('GET', `${path}/actions`)).toEqual({ actions: [] })
    expect((await alice.get(`${base}/pushrules/global/override/nothing`)).body.errcode).toBe('M_NOT_FOUND')
    expect((await alice.get(`${base}/pushrules/global/nothing/.m.rule.master`)).status).toBe(404)
    expect((await alice.get(`${base}/room_keys/version`)).status).toBe(404)
  })
})
