import { beforeEach, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { IncomingEdus } from '../../src/federation/edus/incoming-edus.js'
import { silentLogger } from '../../src/logger.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { Entrances } from '../../src/room/inbound/entrances.js'
import { ServerAcls } from '../../src/room/server-acls.js'
import { cleanUp } from '../../src/workers/clean-up.js'
import { eventually } from '../support/eventually.js'
import { startTestHomeserver } from '../support/homeserver.js'
import { carol, erin } from '../support/laboratory/index.js'
import { crossSigningKey, deviceKeys, sharedRoom, type SharedRoom } from '../support/remote-users.js'
import { remoteError, ScriptedRemote } from '../support/scripted-remote.js'

const remote = new ScriptedRemote()
const homeserver = await startTestHomeserver({ remote })
const { services, database } = homeserver
const { db } = database
const mia = await homeserver.user('mia')
const base = '/_matrix/client/v3'
const two = 'two.example'

/** What the server of a user would say of them. */
interface Truth {
  devices: Record<string, JsonObject>
  streamId: number
  master?: JsonObject
}
const truth = new Map<string, Truth>()
let users = 0

/** A user of two.example with one device, in a room with mia. */
async function followed(): Promise<{ userId: string; shared: SharedRoom; told: Truth }> {
  const userId = `@user${users++}:two.example`
  const told: Truth = { devices: { A: deviceKeys(userId, 'A') }, streamId: 10 }
  truth.set(userId, told)
  return { userId, told, shared: await sharedRoom(homeserver, { creator: carol, members: [mia.userId, userId] }) }
}

beforeEach(() => {
  remote.asked.length = 0
  remote.script = (_server, { path, content }) => {
    if (path.includes('/send/')) return undefined
    if (path.endsWith('/user/keys/query')) return queried(Object.keys(content!['device_keys'] as JsonObject))
    const userId = decodeURIComponent(path.split('/').at(-1)!)
    return userDevices(userId)
  }
})

function queried(userIds: readonly string[]): object {
  const known = userIds.filter((userId) => truth.has(userId))
  const masters = known.flatMap((userId) => {
    const { master } = truth.get(userId)!
    return master === undefined ? [] : [[userId, master] as const]
  })
  return {
    device_keys: Object.fromEntries(known.map((userId) => [userId, truth.get(userId)!.devices])),
    master_keys: Object.fromEntries(masters),
  }
}

function userDevices(userId: string): object {
  const { devices, streamId, master } = truth.get(userId)!
  const list = Object.entries(devices).map(([device_id, keys]) => ({ device_id, keys, device_display_name: 'a name' }))
  return { user_id: userId, stream_id: streamId, devices: list, ...(master && { master_key: master }) }
}

const query = (device_keys: object, more: object = {}) => mia.ok('POST', `${base}/keys/query`, { device_keys, ...more })
const devicesOf = async (userId: string) =>
  Object.keys((await query({ [userId]: [] })).device_keys[userId] ?? {}).sort()
const asked = (userId: string) =>
  remote.asked.filter(({ path, content }) => `${decodeURIComponent(path)}${JSON.stringify(content)}`.includes(userId))

const row = (userId: string) =>
  db.selectFrom('remote_device_list').selectAll().where('user_id', '=', userId).executeTakeFirst()

/** Until the list is what the server has: here, or in the loop of the server. */
const fresh = (userId: string) =>
  eventually('the list is fresh', async () => {
    await services.remoteDevices.resync()
    return (await row(userId))?.retry_ts === null
  })

async function followedAndFresh() {
  const one = await followed()
  await devicesOf(one.userId)
  await fresh(one.userId)
  remote.asked.length = 0
  return one
}

const edus = new IncomingEdus({
  ...services,
  acls: new ServerAcls(services.rooms),
  entrances: new Entrances(),
  receipts: { take: () => Promise.resolve('no news' as const) },
  serverName: services.config.serverName,
  logger: silentLogger,
  now: Date.now,
})
const update = (user_id: string, content: JsonObject, origin = two) =>
  edus.take(origin, [{ edu_type: 'm.device_list_update', content: { user_id, ...content } }])

const changedSince = async (since: string) => (await mia.sync({ since })).device_lists?.changed ?? []

describe('devices of a user of another server', () => {
  it('are asked for once, and known from then on', async () => {
    const { userId, told } = await followed()
    told.master = crossSigningKey(userId, 'master')
    const keys = { ...told.devices['A'], unsigned: {} }
    const answer = { device_keys: { [userId]: { A: keys } }, failures: {}, master_keys: { [userId]: told.master } }
    expect(await query({ [userId]: [] })).toEqual(answer)
    await fresh(userId)
    remote.asked.length = 0
    const again = await query({ [userId]: [] })
    expect(again).toEqual({
      ...answer,
      device_keys: { [userId]: { A: { ...keys, unsigned: { device_display_name: 'a name' } } } },
    })
    expect(asked(userId)).toEqual([])
    expect(await query({ [userId]: ['B'] })).toMatchObject({ device_keys: { [userId]: {} } })
  })

  it('who shares no room are asked for each time, and not kept', async () => {
    const userId = '@stranger:two.example'
    truth.set(userId, { devices: { A: deviceKeys(userId, 'A'), B: deviceKeys(userId, 'B') }, streamId: 1 })
    for (let i = 0; i < 2; i++) {
      const { device_keys } = await query({ [userId]: ['B'] })
      expect(Object.keys(device_keys[userId])).toEqual(['B'])
    }
    expect(asked(userId)).toMatchObject([
      { content: { device_keys: { [userId]: ['B'] } } },
      { content: { device_keys: { [userId]: ['B'] } } },
    ])
    expect(await row(userId)).toBeUndefined()
  })

  it('whose server fails are a failure that says nothing, and are told of when it is back', async () => {
    const { userId } = await followed()
    const script = remote.script
    remote.script = () => {
      throw remoteError(two, 401, 'M_UNKNOWN_TOKEN')
    }
    const answer = await query({ [userId]: [], '@x:nowhere.example': [] })
    expect(answer).toEqual({ device_keys: {}, failures: { [two]: {}, 'nowhere.example': {} } })
    remote.script = () => 'this is no JSON'
    expect((await query({ [userId]: [] })).failures).toEqual({ [two]: {} })
    const since = await mia.syncToken()
    remote.script = script
    await sql`update remote_device_list set retry_ts = 0 where user_id = ${userId}`.execute(db)
    await fresh(userId)
    expect(await changedSince(since)).toContain(userId)
  })

  it('of a server that does not answer in time are a failure', async () => {
    const { userId } = await followed()
    remote.script = () => new Promise((_resolve, reject) => setTimeout(() => reject(remoteError(two, 504, 'X')), 300))
    const waiting = '@x:slow.example'
    expect((await query({ [userId]: [], [waiting]: [] }, { timeout: 100 })).failures).toEqual({
      [two]: {},
      'slow.example': {},
    })
  })

  it('are only of the shape of device keys, and of the user and the device they are said to be of', async () => {
    const { userId, told } = await followed()
    const good = told.devices['A']!
    told.devices = {
      A: good,
      B: deviceKeys(userId, 'C'),
      C: deviceKeys(erin, 'C'),
      D: { ...deviceKeys(userId, 'D'), keys: { 'ed25519:D': 5 } },
      E: { ...deviceKeys(userId, 'E'), algorithms: 'all' },
      F: { ...deviceKeys(userId, 'F'), signatures: { x: 'y' } },
      G: deviceKeys(userId, 'G', { more: 'x'.repeat(40_000) }),
      H: 'keys' as unknown as JsonObject,
      '\0': { ...deviceKeys(userId, 'Z'), device_id: '\0' },
    }
    told.master = crossSigningKey(userId, 'self_signing')
    truth.set(erin, { devices: { A: deviceKeys(erin, 'A') }, streamId: 1 })
    const answer = await query({ [userId]: [] })
    expect(answer.device_keys).toEqual({ [userId]: { A: { ...good, unsigned: {} } } })
    expect(answer.master_keys).toBeUndefined()
    await fresh(userId)
    expect(await devicesOf(userId)).toEqual(['A'])
  })

  it('are asked of their own server only, whatever another one says of them', async () => {
    const { userId } = await followed()
    truth.get(userId)!.devices = {}
    remote.script = (server) =>
      server === 'three.example'
        ? { device_keys: { [userId]: { EVIL: deviceKeys(userId, 'EVIL') }, [erin]: {} } }
        : queried([userId])
    expect((await query({ [userId]: [], [erin]: [] })).device_keys).toEqual({ [userId]: {}, [erin]: {} })
  })
})

describe('an update of a device list', () => {
  it('that follows is applied, and told to those who share a room', async () => {
    const { userId } = await followedAndFresh()
    const since = await mia.syncToken()
    const keys = deviceKeys(userId, 'B')
    await update(userId, { device_id: 'B', stream_id: 11, prev_id: [10], keys, device_display_name: 'phone' })
    expect(await changedSince(since)).toContain(userId)
    const { device_keys } = await query({ [userId]: [] })
    expect(device_keys[userId].B).toEqual({ ...keys, unsigned: { device_display_name: 'phone' } })
    await update(userId, { device_id: 'A', stream_id: 12, prev_id: [11], deleted: true })
    await update(userId, { device_id: 'B', stream_id: 15, prev_id: [12], device_display_name: 'tablet' })
    expect((await query({ [userId]: [] })).device_keys[userId]).toEqual({
      B: { ...keys, unsigned: { device_display_name: 'tablet' } },
    })
    expect(asked(userId)).toEqual([])
  })

  it.each<[string, JsonObject]>([
    ['of which one before it is missing', { stream_id: 13, prev_id: [12] }],
    ['that names none before it', { stream_id: 11 }],
    ['that came too late', { stream_id: 9, prev_id: [8] }],
  ])('%s makes the list be asked for', async (_what, ids) => {
    const { userId, told } = await followedAndFresh()
    const since = await mia.syncToken()
    told.devices = { ...told.devices, B: deviceKeys(userId, 'B') }
    told.streamId = 13
    await update(userId, { device_id: 'B', ...ids, keys: told.devices['B']! })
    // A client that does not wait for it is told the truth all the same.
    expect(await devicesOf(userId)).toEqual(['A', 'B'])
    await fresh(userId)
    expect(await row(userId)).toMatchObject({ stream_id: 13, attempts: 0 })
    expect(await changedSince(since)).toContain(userId)
    expect(await devicesOf(userId)).toEqual(['A', 'B'])
  })

  it('that comes while the list is asked for makes it be asked for again', async () => {
    const { userId, told } = await followedAndFresh()
    await update(userId, { device_id: 'B', stream_id: 20, prev_id: [19], keys: deviceKeys(userId, 'B') })
    const script = remote.script
    let answers = 0
    remote.script = async (server, request) => {
      const answer = await script(server, request)
      if (request.path.endsWith(encodeURIComponent(userId)) && answers++ === 0) {
        told.devices = { C: deviceKeys(userId, 'C') }
        told.streamId = 21
        await update(userId, { device_id: 'C', stream_id: 21, prev_id: [20] })
      }
      return answer!
    }
    await fresh(userId)
    expect(answers).toBe(2)
    expect(await devicesOf(userId)).toEqual(['C'])
  })

  it('of a user of another server, or whose keys are not those of the device, is not taken', async () => {
    const { userId } = await followedAndFresh()
    const good = { device_id: 'B', stream_id: 11, prev_id: [10] }
    await update(userId, { ...good, keys: deviceKeys(userId, 'B') }, 'three.example')
    await update(userId, { ...good, keys: deviceKeys(userId, 'X') })
    await update(userId, { ...good, keys: deviceKeys(erin, 'B') })
    await update(userId, { ...good, keys: { ...deviceKeys(userId, 'B'), signatures: null } })
    await update(userId, { ...good, stream_id: '11' })
    await update(userId, { ...good, stream_id: 2 ** 60 })
    await update(userId, { ...good, prev_id: 'x' })
    expect(await row(userId)).toMatchObject({ stream_id: 10, version: 0, retry_ts: null })
  })

  it('of a user whom nobody asked for is told to who shares a room with them, and not kept', async () => {
    const { userId } = await followed()
    const stranger = '@stranger:two.example'
    const since = await mia.syncToken()
    for (const user of [stranger, userId])
      await update(user, { device_id: 'B', stream_id: 11, prev_id: [10], keys: deviceKeys(user, 'B') })
    const changed = await changedSince(since)
    expect(changed).toContain(userId)
    expect(changed).not.toContain(stranger)
    expect(await row(userId)).toBeUndefined()
  })
})

describe('signing keys of other servers', () => {
  const keysUpdate = (user_id: string, content: JsonObject, origin = two) =>
    edus.take(origin, [{ edu_type: 'm.signing_key_update', content: { user_id, ...content } }])

  it('are kept, told, and in the answer to who asks', async () => {
    const { userId } = await followedAndFresh()
    const since = await mia.syncToken()
    const [master_key, self_signing_key] = [crossSigningKey(userId, 'master'), crossSigningKey(userId, 'self_signing')]
    await keysUpdate(userId, { master_key, self_signing_key }, 'three.example')
    await keysUpdate(userId, { master_key: self_signing_key })
    await keysUpdate(userId, { master_key: crossSigningKey(erin, 'master') })
    expect(await query({ [userId]: [] })).not.toHaveProperty('master_keys')
    await keysUpdate(userId, { master_key, self_signing_key })
    expect(await changedSince(since)).toContain(userId)
    expect(await query({ [userId]: [] })).toMatchObject({
      master_keys: { [userId]: master_key },
      self_signing_keys: { [userId]: self_signing_key },
    })
  })
})

describe('lists to be asked for', () => {
  it('are left alone for a growing time while their server does not answer, all of them together', async () => {
    const [one, other] = [await followed(), await followed()]
    for (const { userId } of [one, other]) await devicesOf(userId)
    remote.script = () => undefined
    const both = sql<boolean>`user_id = any(${[one.userId, other.userId]})`
    await db.updateTable('remote_device_list').set({ retry_ts: 0 }).where(both).execute()
    const stale = () => db.selectFrom('remote_device_list').selectAll().where(both).execute()
    await eventually('the server was asked in vain', async () => {
      await services.remoteDevices.resync()
      return (await stale()).every(({ attempts }) => attempts >= 1)
    })
    remote.asked.length = 0
    await services.remoteDevices.resync()
    expect([...asked(one.userId), ...asked(other.userId)]).toEqual([])
    for (const { retry_ts } of await stale()) expect(retry_ts).toBeGreaterThan(Date.now())
  })

  it('and all others are deleted when the user shares no room any more, and clients are told', async () => {
    const { userId, shared } = await followedAndFresh()
    const round = () => cleanUp({ db, logger: silentLogger, now: Date.now }, { batch: 1_000, pause: 0 })
    await round()
    expect(await row(userId)).toBeDefined()
    const since = await mia.syncToken()
    await shared.take(shared.room.leave(userId))
    expect((await mia.sync({ since })).device_lists.left).toEqual([userId])
    await round()
    expect(await row(userId)).toBeUndefined()
    expect(await db.selectFrom('remote_device').selectAll().where('user_id', '=', userId).execute()).toEqual([])
  })

  it('of a user who shared no room for a while are asked for anew: nobody told what changed meanwhile', async () => {
    const { userId, shared, told } = await followedAndFresh()
    await shared.take(shared.room.leave(userId))
    told.devices = { B: deviceKeys(userId, 'B') }
    expect(await devicesOf(userId)).toEqual(['B'])
    told.devices = { C: deviceKeys(userId, 'C') }
    told.streamId = 30
    await shared.take(shared.room.join(userId))
    expect(await devicesOf(userId)).toEqual(['C'])
    await fresh(userId)
    remote.asked.length = 0
    expect(await devicesOf(userId)).toEqual(['C'])
    expect(asked(userId)).toEqual([])
  })

  it('a user who comes into a room is named to those who are there', async () => {
    const { shared } = await followed()
    const since = await mia.syncToken()
    await shared.take(shared.room.join('@new:two.example'))
    expect(await changedSince(since)).toEqual(['@new:two.example'])
  })
})

describe('one-time keys of other servers', () => {
  const claim = (one_time_keys: object) => mia.ok('POST', `${base}/keys/claim`, { one_time_keys })

  it('are claimed of their server, one for each device, of the algorithm that was asked for', async () => {
    const userId = '@claimed:two.example'
    const key = { key: 'x', signatures: { [userId]: { 'ed25519:A': 'y' } } }
    remote.script = (_server, { path }) =>
      path.endsWith('/claim')
        ? {
            one_time_keys: {
              [userId]: {
                A: { 'curve25519:no': 'plain', 'signed_curve25519:1': key, 'signed_curve25519:2': key },
                B: { 'signed_curve25519:1': { signatures: {} } },
                C: { 'signed_curve25519:1': key },
              },
              [erin]: { A: { 'signed_curve25519:1': key } },
            },
          }
        : undefined
    const wanted = { [userId]: { A: 'signed_curve25519', B: 'signed_curve25519' } }
    expect(await claim(wanted)).toEqual({
      one_time_keys: { [userId]: { A: { 'signed_curve25519:1': key } } },
      failures: {},
    })
    expect(remote.asked.filter(({ path }) => path.endsWith('/claim'))).toEqual([
      {
        server: two,
        method: 'POST',
        path: '/_matrix/federation/v1/user/keys/claim',
        content: { one_time_keys: wanted },
      },
    ])
    remote.script = () => undefined
    expect(await claim(wanted)).toEqual({ one_time_keys: {}, failures: { [two]: {} } })
  })
})

describe('messages to devices of other servers', () => {
  const send = (messages: object, txnId: string) => mia.put(`${base}/sendToDevice/m.test/${txnId}`, { messages })
  const waiting = async () => {
    const rows = await db.selectFrom('federation_outbox').select(['destination', 'edu']).orderBy('number').execute()
    return rows
      .map(({ destination, edu }) => ({ destination, edu: JSON.parse(edu) }))
      .filter(({ edu }) => edu.content.type === 'm.test')
  }

  it('wait for each server, once for a transaction id', async () => {
    const messages = {
      '@a:two.example': { '*': { body: 'all' }, D: { body: 'one' } },
      '@b:two.example': { E: { body: 'one' } },
      [erin]: { F: { body: 'other' } },
      [mia.userId]: { NOBODY: {} },
    }
    for (let i = 0; i < 2; i++) expect((await send(messages, 'once')).status).toBe(200)
    const edu = (to: object) => ({
      edu_type: 'm.direct_to_device',
      content: { sender: mia.userId, type: 'm.test', message_id: expect.stringMatching(/^.{1,32}$/), messages: to },
    })
    const { [erin]: toErin, [mia.userId]: _own, ...toTwo } = messages
    expect(await waiting()).toEqual([
      { destination: 'three.example', edu: edu({ [erin]: toErin }) },
      { destination: two, edu: edu(toTwo) },
    ])
    await db.deleteFrom('federation_outbox').execute()
  })

  it('are split where they are many, and refused where one cannot be signed or is too large', async () => {
    const body = 'x'.repeat(40_000)
    await send({ '@a:two.example': { A: { body }, B: { body }, C: { body } } }, 'many')
    expect((await waiting()).map(({ edu }) => Object.keys(edu.content.messages['@a:two.example']))).toEqual([
      ['A'],
      ['B'],
      ['C'],
    ])
    const refused = await send({ '@a:two.example': { A: { number: 1.5 } } }, 'float')
    expect([refused.status, refused.body.errcode]).toEqual([400, 'M_BAD_JSON'])
    const large = await send({ '@a:two.example': { A: { body: body + body } } }, 'large')
    expect([large.status, large.body.errcode]).toEqual([413, 'M_TOO_LARGE'])
  })
})
