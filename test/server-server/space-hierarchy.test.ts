import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'
import { serverApp } from '../support/server-app.js'

const homeserver = await startTestHomeserver()
const { rooms } = homeserver.services
const asking = await serverApp(homeserver)
const elsewhere = asking('elsewhere.test')
const alice = await homeserver.user('alice')
const hierarchy = (roomId: string, query = '', server = elsewhere) =>
  server.get(`/_matrix/federation/v1/hierarchy/${encodeURIComponent(roomId)}${query}`)
const space = (options: object = {}) =>
  alice.createRoom({ preset: 'public_chat', creation_content: { type: 'm.space' }, ...options })
const setState = (roomId: string, type: string, key: string, content: object) =>
  alice.ok(
    'PUT',
    `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state/${type}/${encodeURIComponent(key)}`,
    content,
  )
const add = (parent: string, child: string, more: object = {}) =>
  setState(parent, 'm.space.child', child, { via: ['hearth.test'], ...more })
const bob = '@bob:elsewhere.test'
const memberOf = async (roomId: string, membership: string) => {
  const name = await rooms.named(roomId)
  const content = { membership }
  await rooms.send(name, {
    type: 'm.room.member',
    stateKey: bob,
    sender: membership === 'join' ? bob : alice.userId,
    content,
  })
}
const statusFor = async (roomId: string) => (await hierarchy(roomId)).status

describe('the hierarchy of a space, for another server', () => {
  it('is the space, its children and those that are out of reach', async () => {
    const root = await space({ name: 'Root', topic: 'All of it' })
    const open = await alice.createRoom({ preset: 'public_chat', name: 'Open' })
    const secret = await alice.createRoom({ preset: 'private_chat', name: 'Secret' })
    const inner = await space({ name: 'Inner' })
    await add(root, open, { suggested: true })
    await add(root, secret, { order: 'b' })
    await add(root, inner, { order: 'a' })
    await add(root, '!unknown:far.test')
    await setState(root, 'm.space.child', '!gone:far.test', {})
    await setState(root, 'm.space.child', 'no room', { via: ['far.test'] })
    await add(inner, open)

    const { status, body } = await hierarchy(root)
    expect(status).toBe(200)
    expect(body.room).toEqual({
      room_id: root,
      name: 'Root',
      topic: 'All of it',
      num_joined_members: 1,
      world_readable: false,
      guest_can_join: false,
      join_rule: 'public',
      room_type: 'm.space',
      room_version: expect.any(String),
      children_state: [inner, secret, open, '!unknown:far.test'].map((state_key) => ({
        type: 'm.space.child',
        state_key,
        sender: alice.userId,
        content: expect.objectContaining({ via: ['hearth.test'] }),
        origin_server_ts: expect.any(Number),
      })),
    })
    expect(body.children.map((child: { name: string }) => child.name)).toEqual(['Inner', 'Open'])
    expect(body.children[0]).not.toHaveProperty('children_state')
    expect(body.inaccessible_children).toEqual([secret])

    const suggested = await hierarchy(root, '?suggested_only=true')
    expect(suggested.body.children.map((child: { name: string }) => child.name)).toEqual(['Open'])
    expect(suggested.body).toMatchObject({ room: { children_state: [{ state_key: open }] }, inaccessible_children: [] })

    expect((await hierarchy(open)).body).toMatchObject({ room: { children_state: [] }, children: [] })
  })

  it('follows the children as they change', async () => {
    const root = await space()
    const child = await alice.createRoom()
    expect((await hierarchy(root)).body.children).toEqual([])
    await add(root, child)
    expect((await hierarchy(root)).body.children).toHaveLength(1)
    await setState(root, 'm.space.child', child, {})
    expect((await hierarchy(root)).body.children).toEqual([])
  })

  it('is not shown of rooms that the server cannot join or look into', async () => {
    expect(await statusFor('!unknown:hearth.test')).toBe(404)
    expect(await statusFor('!unknown:far.test')).toBe(404)
    const secret = await alice.createRoom({ preset: 'private_chat' })
    expect(await hierarchy(secret)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    await setState(secret, 'm.room.history_visibility', '', { history_visibility: 'world_readable' })
    expect(await statusFor(secret)).toBe(200)
    expect((await hierarchy(secret, '', asking())).status).toBe(401)
  })

  it.each([
    ['knock', 200],
    ['invite', 404],
    ['private', 404],
    ['nonsense', 404],
  ])('of a room with the join rule %s is answered %s', async (join_rule, status) => {
    const room = await alice.createRoom()
    await setState(room, 'm.room.join_rules', '', { join_rule })
    expect(await statusFor(room)).toBe(status)
  })

  it('is shown to a server with a user who is in the room or invited, until they leave', async () => {
    const room = await alice.createRoom({ preset: 'private_chat' })
    await memberOf(room, 'invite')
    expect(await statusFor(room)).toBe(200)
    await memberOf(room, 'join')
    expect(await statusFor(room)).toBe(200)
    await memberOf(room, 'leave')
    expect(await statusFor(room)).toBe(404)
  })

  it('of a restricted room is shown to a server with a user in a room whose members may join', async () => {
    const lobby = await alice.createRoom()
    const room = await alice.createRoom()
    const allow = [{ type: 'm.room_membership', room_id: lobby }, { type: 'other', room_id: '!x:far.test' }, 7]
    await setState(room, 'm.room.join_rules', '', { join_rule: 'restricted', allow })
    expect(await statusFor(room)).toBe(404)
    await memberOf(lobby, 'join')
    expect((await hierarchy(room)).body.room).toMatchObject({ join_rule: 'restricted', allowed_room_ids: [lobby] })
  })

  it('is not shown to a server that is denied, nor of a room that does not federate', async () => {
    const root = await space()
    const denied = await alice.createRoom()
    await add(root, denied)
    await setState(denied, 'm.room.server_acl', '', { allow: ['*'], deny: ['elsewhere.*'] })
    expect(await statusFor(denied)).toBe(404)
    expect((await hierarchy(denied, '', asking('far.test'))).status).toBe(200)
    expect((await hierarchy(root)).body).toMatchObject({ children: [], inaccessible_children: [denied] })
    const home = await alice.createRoom({ preset: 'public_chat', creation_content: { 'm.federate': false } })
    expect(await statusFor(home)).toBe(404)
  })

  it('is not told once nobody of this server is in the room', async () => {
    const room = await alice.createRoom()
    await memberOf(room, 'join')
    await alice.ok('POST', `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/leave`, {})
    expect(await statusFor(room)).toBe(404)
  })
})
