import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals'
import {
  createClient,
  EventType,
  type ICreateRoomOpts,
  type IStartClientOpts,
  type MatrixClient,
  type MatrixEvent,
  MsgType,
  Preset,
  type Room,
  SetPresence,
} from 'matrix-js-sdk'
import { eventually } from '../support/eventually.js'
import { type HearthProcess, type Installation, installation } from '../support/server-process.js'

/** Two people with the library of Element, which has its own idea of what a homeserver answers. */

// The library tells the console everything it does.
for (const name of ['debug', 'info', 'log', 'warn', 'error'] as const)
  jest.spyOn(console, name).mockImplementation(() => {})
// And it leaves a timer behind for each request, which would keep this process from ending for minutes.
const ordinary = globalThis.setTimeout
globalThis.setTimeout = ((...args: Parameters<typeof ordinary>) => ordinary(...args).unref()) as typeof ordinary

const started: MatrixClient[] = []
const stopAll = () => started.splice(0).forEach((client) => client.stopClient())

let hearth: Installation
let server: HearthProcess
beforeAll(async () => {
  hearth = await installation({ PRESENCE: 'local' })
  server = await hearth.start()
}, 60_000)

const newClient = (options: object = {}) => createClient({ baseUrl: hearth.baseUrl, ...options })

async function register(username: string, password: string): Promise<MatrixClient> {
  const {
    user_id: userId,
    access_token,
    device_id,
  } = await newClient().registerRequest({
    username,
    password,
    auth: { type: 'm.login.dummy' },
  })
  return newClient({ userId, accessToken: access_token, deviceId: device_id })
}

async function logIn(user: string, password: string): Promise<MatrixClient> {
  const { user_id, access_token, device_id } = await newClient().loginRequest({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
  })
  return newClient({ userId: user_id, accessToken: access_token, deviceId: device_id })
}

async function start(client: MatrixClient, options: IStartClientOpts = {}): Promise<void> {
  started.push(client)
  await client.startClient({ initialSyncLimit: 10, lazyLoadMembers: true, ...options })
  await eventually('the client is prepared', () => client.isInitialSyncComplete())
}

async function scrollBack(client: MatrixClient, room: Room): Promise<void> {
  while ((await client.scrollback(room, 10)).oldState.paginationToken !== null);
}

const bodies = (room: Room): string[] =>
  room
    .getLiveTimeline()
    .getEvents()
    .filter((event) => event.getType() === String(EventType.RoomMessage))
    .map((event) => event.getContent()['body'] as string)

const inRoom = (client: MatrixClient, roomId: string): Promise<Room> =>
  eventually('the room is known', () => client.getRoom(roomId) ?? undefined)

const hears = (client: MatrixClient, roomId: string, body: string, within = 10_000): Promise<MatrixEvent> =>
  eventually(
    `${client.getUserId()} hears "${body}"`,
    () => {
      const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? []
      return events.find((event) => event.getContent()['body'] === body)
    },
    { within },
  )

describe('two people with matrix-js-sdk', () => {
  let alice: MatrixClient
  let bob: MatrixClient
  let roomId: string
  afterAll(stopAll)

  it('register and log in, and one invites the other into a room', async () => {
    alice = await register('alice', 'the password of alice')
    await register('bob', 'the password of bob')
    bob = await logIn('bob', 'the password of bob')
    await alice.setDisplayName('Alice')
    await Promise.all([start(alice), start(bob)])

    const options = { preset: Preset.PrivateChat, name: 'Hearth and home', invite: [bob.getUserId()!] }
    roomId = (await alice.createRoom(options)).room_id
    const invited = await inRoom(bob, roomId)
    expect(invited.getMyMembership()).toBe('invite')
    await eventually('the invitation has a name', () => invited.name === 'Hearth and home')
    expect(invited.getMember(alice.getUserId()!)?.name).toBe('Alice')

    await bob.joinRoom(roomId)
    await eventually('both are joined', () =>
      [alice, bob].every((client) => client.getRoom(roomId)?.getJoinedMemberCount() === 2),
    )
  }, 60_000)

  it('talk', async () => {
    await alice.sendTextMessage(roomId, 'Is anybody there?')
    await hears(bob, roomId, 'Is anybody there?')
    await bob.sendTextMessage(roomId, 'I am.')
    await hears(alice, roomId, 'I am.')
    expect(bodies(alice.getRoom(roomId)!)).toEqual(['Is anybody there?', 'I am.'])
    expect(bodies(bob.getRoom(roomId)!)).toEqual(['Is anybody there?', 'I am.'])
  }, 30_000)

  it('see each other typing and reading', async () => {
    const isTyping = () => alice.getRoom(roomId)!.getMember(bob.getUserId()!)?.typing
    await bob.sendTyping(roomId, true, 30_000)
    await eventually('Alice sees that Bob types', () => isTyping() === true)
    await bob.sendTyping(roomId, false, 0)
    await eventually('Alice sees that Bob stopped', () => isTyping() === false)

    const { event_id: eventId } = await alice.sendTextMessage(roomId, 'Have you read this?')
    const heard = await hears(bob, roomId, 'Have you read this?')
    await eventually('Bob has one unread message', () => bob.getRoom(roomId)!.getUnreadNotificationCount() === 1)
    await bob.sendReadReceipt(heard)
    await eventually('Alice sees what Bob has read', () => {
      return alice.getRoom(roomId)!.getEventReadUpTo(bob.getUserId()!) === eventId
    })
    await eventually('Bob has none', () => bob.getRoom(roomId)!.getUnreadNotificationCount() === 0)
  }, 30_000)

  it('see that the other is there, and what they say of it', async () => {
    const presence = () => alice.getUser(bob.getUserId()!)?.presence
    await eventually('Alice sees that Bob is there', () => presence() === 'online')
    await bob.setPresence({ presence: 'unavailable', status_msg: 'Making cupcakes' })
    void bob.setSyncPresence(SetPresence.Unavailable)
    await eventually('Alice sees that Bob is busy', () => presence() === 'unavailable')
    expect(alice.getUser(bob.getUserId()!)?.presenceStatusMsg).toBe('Making cupcakes')
    void bob.setSyncPresence(SetPresence.Online)
  }, 60_000)

  it('go on by themselves after the server was killed, and find everything again', async () => {
    for (let i = 0; i < 15; i++) await alice.sendTextMessage(roomId, `before ${i}`)
    await server.end('SIGKILL')
    server = await hearth.start()
    await alice.sendTextMessage(roomId, 'after')
    await hears(bob, roomId, 'after', 30_000)
    await hears(alice, roomId, 'after', 30_000)

    const again = await logIn('bob', 'the password of bob')
    await start(again)
    const room = await inRoom(again, roomId)
    expect(room.name).toBe('Hearth and home')
    await scrollBack(again, room)
    // Who was away for more than a page has a gap.
    await scrollBack(bob, bob.getRoom(roomId)!)
    const said = [
      'Is anybody there?',
      'I am.',
      'Have you read this?',
      ...Array.from({ length: 15 }, (_, i) => `before ${i}`),
    ]
    expect(bodies(room)).toEqual([...said, 'after'])
    expect(bodies(bob.getRoom(roomId)!)).toEqual([...said, 'after'])
    expect(room.getEventReadUpTo(bob.getUserId()!)).toBe(bob.getRoom(roomId)!.getEventReadUpTo(bob.getUserId()!))
  }, 90_000)
})

describe('two people and the doors of rooms', () => {
  let erin: MatrixClient
  let frank: MatrixClient
  afterAll(stopAll)

  const withJoinRule = (content: object, version: string) =>
    erin.createRoom({
      room_version: version,
      initial_state: [{ type: 'm.room.join_rules', state_key: '', content }],
    } as ICreateRoomOpts)
  const membership = (client: MatrixClient, roomId: string, is: string) =>
    eventually(`the membership is ${is}`, () => client.getRoom(roomId)?.getMyMembership() === is)

  it('one knocks and is let in', async () => {
    erin = await register('erin', 'the password of erin')
    frank = await register('frank', 'the password of frank')
    await Promise.all([start(erin), start(frank)])
    const { room_id: roomId } = await withJoinRule({ join_rule: 'knock' }, '11')
    await frank.knockRoom(roomId, { reason: 'It is cold outside.' })
    await membership(frank, roomId, 'knock')
    await eventually('Erin hears it', () => {
      return erin.getRoom(roomId)?.getMember(frank.getUserId()!)?.membership === 'knock'
    })
    await erin.invite(roomId, frank.getUserId()!)
    await membership(frank, roomId, 'invite')
    await frank.joinRoom(roomId)
    await membership(frank, roomId, 'join')
  }, 60_000)

  it('one does not want in, is not wanted, or is not let in', async () => {
    const invite = [frank.getUserId()!]
    const [declined, takenBack] = await Promise.all([erin.createRoom({ invite }), erin.createRoom({ invite })])
    const { room_id: knockedOn } = await withJoinRule({ join_rule: 'knock' }, '11')
    await frank.knockRoom(knockedOn)
    for (const { room_id: roomId } of [declined, takenBack]) await membership(frank, roomId, 'invite')
    await membership(frank, knockedOn, 'knock')
    await frank.leave(declined.room_id)
    await erin.kick(takenBack.room_id, frank.getUserId()!)
    await erin.kick(knockedOn, frank.getUserId()!)
    for (const roomId of [declined.room_id, takenBack.room_id, knockedOn]) await membership(frank, roomId, 'leave')
  }, 60_000)

  it('one comes in by another room', async () => {
    const { room_id: space } = await erin.createRoom({ preset: Preset.PublicChat })
    const allow = [{ type: 'm.room_membership', room_id: space }]
    const { room_id: roomId } = await withJoinRule({ join_rule: 'restricted', allow }, '12')
    await expect(frank.joinRoom(roomId)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    await frank.joinRoom(space)
    await frank.joinRoom(roomId)
    await membership(frank, roomId, 'join')
  }, 60_000)

  it('one follows the other into the room that replaces theirs', async () => {
    const { room_id: old } = await erin.createRoom({ preset: Preset.PublicChat, room_version: '11', name: 'Home' })
    await frank.joinRoom(old)
    await membership(frank, old, 'join')
    const { replacement_room: made } = await erin.upgradeRoom(old, '12')
    const tombstone = await eventually('Frank is told', () => {
      return frank.getRoom(old)!.currentState.getStateEvents('m.room.tombstone', '') ?? undefined
    })
    expect(tombstone.getContent()['replacement_room']).toBe(made)
    await frank.joinRoom(made)
    await membership(frank, made, 'join')
    const room = frank.getRoom(made)!
    await eventually('it has its name', () => room.name === 'Home')
    expect(room.getVersion()).toBe('12')
    expect(room.findPredecessor()?.roomId).toBe(old)
    const visible = frank.getVisibleRooms().map(({ roomId }) => roomId)
    expect(visible).toContain(made)
    expect(visible).not.toContain(old)
  }, 60_000)
})

describe('two people with encryption', () => {
  afterAll(stopAll)

  it('understand each other, and nobody else does', async () => {
    const carol = await register('carol', 'the password of carol')
    const dave = await register('dave', 'the password of dave')
    for (const client of [carol, dave]) {
      await client.initRustCrypto({ useIndexedDB: false })
      await start(client)
    }
    const encryption = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }
    const options = { preset: Preset.TrustedPrivateChat, initial_state: [encryption], invite: [dave.getUserId()!] }
    const { room_id: roomId } = await carol.createRoom(options)
    await inRoom(dave, roomId)
    await dave.joinRoom(roomId)
    await eventually('carol sees him', () => carol.getRoom(roomId)?.getJoinedMemberCount() === 2)

    await carol.sendMessage(roomId, { msgtype: MsgType.Text, body: 'a secret' })
    const heard = await hears(dave, roomId, 'a secret')
    expect(heard.getWireType()).toBe('m.room.encrypted')
    expect(JSON.stringify(heard.getWireContent())).not.toContain('a secret')
    await dave.sendMessage(roomId, { msgtype: MsgType.Text, body: 'another secret' })
    await hears(carol, roomId, 'another secret')
  }, 60_000)
})
