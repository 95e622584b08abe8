import { randomBytes } from 'node:crypto'
import { encodeBase64 } from '../../../src/protocol/base64.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { signingKeyFromSeed, signJson } from '../../../src/protocol/signing.js'
import { TestUser } from '../../../test/support/test-user.js'
import { inSync, reads, roomPath, same, sees, soon, v3 } from '../actions.js'
import type { Scenario } from '../scenario.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- answers of every shape are looked into */

async function ephemeral(user: TestUser, roomId: string, type: string): Promise<any> {
  const { rooms } = await user.sync()
  return rooms?.join?.[roomId]?.ephemeral?.events?.find((event: { type: string }) => event.type === type)?.content
}

const typing = async (user: TestUser, roomId: string): Promise<string[]> =>
  (await ephemeral(user, roomId, 'm.typing'))?.user_ids ?? []

/** As a client makes and signs them. */
function keysOf({ userId, deviceId }: TestUser): object {
  const device = signingKeyFromSeed(deviceId, randomBytes(32))
  const curve25519 = () => encodeBase64(randomBytes(32))
  const signed = (object: JsonObject) => signJson(object, userId, device)
  return {
    device_keys: signed({
      user_id: userId,
      device_id: deviceId,
      algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
      keys: { [device.keyId]: encodeBase64(device.publicKey), [`curve25519:${deviceId}`]: curve25519() },
    }),
    one_time_keys: { 'signed_curve25519:AAAA': signed({ key: curve25519() }) },
    fallback_keys: { 'signed_curve25519:FALL': signed({ key: curve25519(), fallback: true }) },
  }
}

/** What all devices of a user are signed with, as a client makes it. */
function crossSigningKeys({ userId }: TestUser): Record<string, JsonObject> {
  const make = () => {
    const key = signingKeyFromSeed('0', randomBytes(32))
    return { ...key, keyId: `ed25519:${encodeBase64(key.publicKey)}` }
  }
  const [master, selfSigning, userSigning] = [make(), make(), make()]
  const told = (usage: string, { keyId, publicKey }: typeof master): JsonObject => ({
    user_id: userId,
    usage: [usage],
    keys: { [keyId]: encodeBase64(publicKey) },
  })
  return {
    master_key: told('master', master),
    self_signing_key: signJson(told('self_signing', selfSigning), userId, master),
    user_signing_key: signJson(told('user_signing', userSigning), userId, master),
  }
}

const query = (user: TestUser, of: TestUser): Promise<any> =>
  user.ok('POST', `${v3}/keys/query`, { device_keys: { [of.userId]: [] } })

const devicesOf = async (user: TestUser, of: TestUser): Promise<Record<string, any>> =>
  (await query(user, of)).device_keys?.[of.userId] ?? {}

export const ephemerals: readonly Scenario[] = [
  {
    name: 'typing, and no longer',
    async play(stage) {
      const roomId = await stage.shared()
      for (const [one, other] of [
        [stage.alice, stage.bob],
        [stage.bob, stage.alice],
      ] as const) {
        const path = roomPath(roomId, 'typing', one.userId)
        await one.ok('PUT', path, { typing: true, timeout: 30_000 })
        await soon('the other sees it', async () => (await typing(other, roomId)).includes(one.userId))
        await one.ok('PUT', path, { typing: false })
        await soon('the other sees the end', async () => !(await typing(other, roomId)).includes(one.userId))
      }
    },
  },
  {
    name: 'receipts, also in threads, and private ones stay private',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const [first, second] = [await alice.say(roomId, 'first'), await alice.say(roomId, 'second')]
      await reads(bob, roomId, 'second')
      await bob.ok('POST', roomPath(roomId, 'receipt', 'm.read.private', second), {})
      await bob.ok('POST', roomPath(roomId, 'receipt', 'm.read', first), {})
      const receipt = async (eventId: string, type: string) =>
        (await ephemeral(alice, roomId, 'm.receipt'))?.[eventId]?.[type]?.[bob.userId]
      await soon('alice sees the receipt', () => receipt(first, 'm.read'))
      await bob.ok('POST', roomPath(roomId, 'receipt', 'm.read', second), { thread_id: 'main' })
      const { thread_id } = await soon('alice sees the one in the thread', () => receipt(second, 'm.read'))
      same('thread', thread_id, 'main')
      same('the private one', await receipt(second, 'm.read.private'), undefined)
    },
  },
  {
    name: 'device keys, one-time keys and fallback keys',
    async play(stage) {
      await stage.shared()
      for (const [one, other] of [
        [stage.alice, stage.bob],
        [stage.bob, stage.alice],
      ] as const) {
        await one.ok('POST', `${v3}/keys/upload`, keysOf(one))
        await soon('the device is seen', async () => (await devicesOf(other, one))[one.deviceId])
        const claim = () =>
          other.ok('POST', `${v3}/keys/claim`, {
            one_time_keys: { [one.userId]: { [one.deviceId]: 'signed_curve25519' } },
          })
        const idOf = async () => Object.keys((await claim()).one_time_keys[one.userId]?.[one.deviceId] ?? {})
        same('first claim', await idOf(), ['signed_curve25519:AAAA'])
        same('second claim', await idOf(), ['signed_curve25519:FALL'])
      }
    },
  },
  {
    name: 'device lists: a new device, its name, and its end',
    async play(stage) {
      const roomId = await stage.shared()
      for (const [one, other, server] of [
        [stage.alice, stage.bob, stage.home],
        [stage.bob, stage.alice, stage.away],
      ] as const) {
        await devicesOf(other, one)
        const changed = async (since: string): Promise<boolean> => {
          const { device_lists } = await other.sync({ since })
          return device_lists?.changed?.includes(one.userId) ?? false
        }
        let since = await other.syncToken()
        const localpart = one.userId.slice(1, one.userId.indexOf(':'))
        const login = await one.ok('POST', `${v3}/login`, {
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: localpart },
          password: 'secret password',
        })
        const device = new TestUser(one.baseUrl, login.access_token, one.userId, login.device_id)
        await device.ok('POST', `${v3}/keys/upload`, keysOf(device))
        await soon('the change is told', () => changed(since))
        await soon('the new device is seen', async () => (await devicesOf(other, one))[device.deviceId])
        await one.ok('PUT', `${v3}/devices/${device.deviceId}`, { display_name: 'spare phone' })
        if (server.kind === 'Synapse') {
          const named = async () => (await devicesOf(other, one))[device.deviceId]?.unsigned?.device_display_name
          await soon('its name is seen', async () => (await named()) === 'spare phone')
        }
        since = await other.syncToken()
        await device.ok('POST', `${v3}/logout`, {})
        await soon('the end is told', () => changed(since))
        await soon('it is gone', async () => (await devicesOf(other, one))[device.deviceId] === undefined)
      }
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'device lists: a change during a cut is heard of afterwards',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await devicesOf(bob, alice)
      const since = await bob.syncToken()
      await stage.apart(roomId, async () => {
        await alice.ok('POST', `${v3}/keys/upload`, keysOf(alice))
      })
      await soon('the change is told', async () =>
        (await bob.sync({ since })).device_lists?.changed?.includes(alice.userId),
      )
      await soon('the keys are seen', async () => (await devicesOf(bob, alice))[alice.deviceId])
    },
  },
  {
    name: 'cross-signing keys, but for those that are for their user alone',
    async play(stage) {
      await stage.shared()
      for (const [one, other, server] of [
        [stage.alice, stage.bob, stage.home],
        [stage.bob, stage.alice, stage.away],
      ] as const) {
        if (server.kind === 'Hearth') continue // whose clients cannot make any yet
        await query(other, one)
        const since = await other.syncToken()
        const keys = crossSigningKeys(one)
        await one.ok('POST', `${v3}/keys/device_signing/upload`, keys)
        const keysOf = (told: any) => Object.keys(told?.[one.userId]?.keys ?? {})
        const master = Object.keys(keys['master_key']!['keys'] as JsonObject)
        await soon('the change is told', async () =>
          (await other.sync({ since })).device_lists?.changed?.includes(one.userId),
        )
        const seen = async () => keysOf((await query(other, one)).master_keys)[0] === master[0]
        await soon('the master key is seen', seen)
        const { self_signing_keys, user_signing_keys } = await query(other, one)
        same('self-signing', keysOf(self_signing_keys), Object.keys(keys['self_signing_key']!['keys'] as JsonObject))
        same('user-signing', keysOf(user_signing_keys), [])
      }
    },
  },
  {
    name: 'messages to devices, one, all, and during a cut',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const send = (from: TestUser, to: TestUser, device: string, n: number) =>
        from.ok('PUT', `${v3}/sendToDevice/org.example.ping/${randomBytes(5).toString('hex')}`, {
          messages: { [to.userId]: { [device]: { n } } },
        })
      const received = async (user: TestUser): Promise<number[]> =>
        ((await user.sync()).to_device?.events ?? []).map(({ content }: any) => content.n)
      await send(alice, bob, bob.deviceId, 1)
      await send(bob, alice, alice.deviceId, 1)
      for (const user of [alice, bob]) await soon('the first is there', async () => (await received(user)).includes(1))
      await send(alice, bob, '*', 2)
      await send(bob, alice, '*', 2)
      for (const user of [alice, bob]) await soon('the second is there', async () => (await received(user)).includes(2))
      await stage.apart(roomId, async () => {
        await send(alice, bob, bob.deviceId, 3)
        await send(bob, alice, alice.deviceId, 3)
      })
      for (const user of [alice, bob]) {
        await soon('the third is there', async () => (await received(user)).includes(3))
        same('once each, in order', await received(user), [1, 2, 3])
      }
    },
  },
  {
    name: 'profiles, asked for and changed',
    async play(stage) {
      const roomId = await stage.shared()
      for (const [one, other] of [
        [stage.alice, stage.bob],
        [stage.bob, stage.alice],
      ] as const) {
        const path = `${v3}/profile/${encodeURIComponent(one.userId)}`
        await one.ok('PUT', `${path}/displayname`, { displayname: 'Ünï Cörn' })
        await one.ok('PUT', `${path}/avatar_url`, { avatar_url: 'mxc://example.org/abc' })
        const asked = async () => (await other.get(path)).body
        same('name', [(await asked()).displayname, (await asked()).avatar_url], ['Ünï Cörn', 'mxc://example.org/abc'])
        const member = roomPath(roomId, 'state', 'm.room.member', one.userId)
        const inRoom = async () => (await other.get(member)).body
        await soon('it is in the room', async () => (await inRoom()).avatar_url === 'mxc://example.org/abc')
        const nobody = await other.get(
          `${v3}/profile/${encodeURIComponent(`@nobody:${one.userId.split(':').slice(1).join(':')}`)}`,
        )
        same('nobody', [nobody.status, nobody.body.errcode], [404, 'M_NOT_FOUND'])
      }
      await sees(stage.alice, roomId, stage.bob, 'join')
    },
  },
  {
    name: 'a user who joins brings name and picture',
    async play(stage) {
      const { alice, bob } = stage
      await bob.ok('PUT', `${v3}/profile/${encodeURIComponent(bob.userId)}/displayname`, { displayname: 'Bob' })
      const roomId = await stage.room({ preset: 'private_chat', invite: [bob.userId] })
      await inSync(bob, 'invite', roomId)
      await bob.join(roomId)
      await sees(alice, roomId, bob, 'join')
      const { displayname } = await alice.ok('GET', roomPath(roomId, 'state', 'm.room.member', bob.userId))
      same('name', displayname, 'Bob')
    },
  },
]
