import { beforeEach, describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'
import { remoteError, ScriptedRemote } from '../support/scripted-remote.js'
import type { TestUser } from '../support/test-user.js'

const remote = new ScriptedRemote()
const homeserver = await startTestHomeserver({ remote })
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const nobody = new TestClient(homeserver.baseUrl)
const path = (roomId: string) => `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/hierarchy`
const hierarchy = (user: TestUser, roomId: string, query = '') => user.ok('GET', path(roomId) + query)
const ids = ({ rooms }: { rooms: { room_id: string }[] }) => rooms.map(({ room_id }) => room_id)
const answerOf = ({ status, body }: { status: number; body: { errcode?: string } }) =>
  body.errcode === undefined ? status : `${status} ${body.errcode}`
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
const addAll = async (parent: string, children: readonly string[]) => {
  for (const [index, child] of children.entries()) await add(parent, child, { order: String.fromCharCode(65 + index) })
}

/** What another server tells of a room, by the ids of its children; of whatever else it is asked it knows nothing. */
function tells(
  rooms: Record<string, { children?: string[]; summaries?: object[]; inaccessible?: string[]; room?: object }>,
) {
  remote.script = (server, request) => {
    const roomId = decodeURIComponent(/\/hierarchy\/([^?]*)/.exec(request.path)?.[1] ?? '')
    const told = rooms[roomId]
    if (told === undefined) throw remoteError(server, 404, 'M_NOT_FOUND')
    return {
      room: { ...summary(roomId, 'm.space'), children_state: (told.children ?? []).map(childEvent), ...told.room },
      children: told.summaries ?? [],
      inaccessible_children: told.inaccessible ?? [],
    }
  }
}
const summary = (room_id: string, room_type?: string, more: object = {}) => ({
  room_id,
  num_joined_members: 3,
  world_readable: false,
  guest_can_join: false,
  join_rule: 'public',
  room_type,
  ...more,
})
const childEvent = (state_key: string) => ({
  type: 'm.space.child',
  state_key,
  sender: '@eve:far.test',
  content: { via: ['far.test'] },
  origin_server_ts: 1,
})
const askedRooms = () => remote.asked.map(({ path }) => decodeURIComponent(/hierarchy\/([^?]*)/.exec(path)?.[1] ?? ''))
let count = 0
const far = (name: string) => `!${name}-${++count}:far.test`

beforeEach(() => {
  remote.script = () => undefined
  remote.asked.length = 0
})

describe('the hierarchy of a space', () => {
  it('is told depth first, each room once, in cycles too', async () => {
    const root = await space()
    const [one, two, three] = [await space(), await alice.createRoom(), await alice.createRoom()]
    await addAll(root, [one, three, two])
    await addAll(one, [two, root, one])
    const page = await hierarchy(bob, root)
    expect(ids(page)).toEqual([root, one, two, three])
    expect(page).not.toHaveProperty('next_batch')
    expect(page.rooms[1].children_state.map((child: { state_key: string }) => child.state_key)).toEqual([
      two,
      root,
      one,
    ])
    expect(page.rooms[2]).toMatchObject({ num_joined_members: 1, join_rule: 'public', children_state: [] })
  })

  it('is read in pages, to a depth, with what is suggested alone', async () => {
    const root = await space()
    const inner = await space()
    const rooms = [await alice.createRoom(), await alice.createRoom(), await alice.createRoom()]
    await add(root, inner, { order: 'a', suggested: true })
    await addAll(inner, rooms)
    await add(inner, rooms[1]!, { order: 'B', suggested: true })
    const all = [root, inner, ...rooms]
    expect(ids(await hierarchy(bob, root, '?max_depth=0'))).toEqual([root])
    expect(ids(await hierarchy(bob, root, '?max_depth=1'))).toEqual([root, inner])
    expect(ids(await hierarchy(bob, root, '?suggested_only=true'))).toEqual([root, inner, rooms[1]])

    const shown: string[] = []
    let from = ''
    do {
      const page = await hierarchy(bob, root, `?limit=2${from}`)
      expect(page.rooms.length).toBeLessThanOrEqual(2)
      shown.push(...ids(page))
      from = page.next_batch === undefined ? '' : `&from=${page.next_batch}`
    } while (from !== '')
    expect(shown).toEqual(all)

    const { next_batch } = await hierarchy(bob, root, '?limit=1&max_depth=1')
    expect(ids(await hierarchy(bob, root, `?from=${next_batch}&max_depth=1`))).toEqual([inner])
    for (const query of [
      `from=${next_batch}&max_depth=2`,
      `from=${next_batch}&suggested_only=true`,
      'from=what',
      'limit=0',
      'max_depth=-1',
    ]) {
      expect(answerOf(await bob.get(`${path(root)}?${query}`))).toBe('400 M_INVALID_PARAM')
    }
  })

  it('holds what the user could join or look into', async () => {
    const root = await space()
    const secret = await alice.createRoom({ preset: 'private_chat' })
    const invited = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] })
    const readable = await alice.createRoom({ preset: 'private_chat' })
    await setState(readable, 'm.room.history_visibility', '', { history_visibility: 'world_readable' })
    const knock = await alice.createRoom({ preset: 'private_chat' })
    await setState(knock, 'm.room.join_rules', '', { join_rule: 'knock' })
    const restricted = await alice.createRoom({ preset: 'private_chat' })
    const allow = [{ type: 'm.room_membership', room_id: root }]
    await setState(restricted, 'm.room.join_rules', '', { join_rule: 'restricted', allow })
    await addAll(root, [secret, invited, readable, knock, restricted])
    expect(ids(await hierarchy(bob, root))).toEqual([root, invited, readable, knock])
    await bob.join(root)
    expect(ids(await hierarchy(bob, root))).toEqual([root, invited, readable, knock, restricted])
    expect(ids(await hierarchy(alice, root))).toHaveLength(6)
    await alice.post(`/_matrix/client/v3/rooms/${encodeURIComponent(root)}/ban`, { user_id: bob.userId })
    expect(answerOf(await bob.get(path(root)))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await bob.get(path(secret)))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await bob.get(path('!unknown:hearth.test')))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await nobody.get(path(root)))).toBe('401 M_MISSING_TOKEN')
  })
})

describe('rooms of a space that are not known here', () => {
  it('are asked of the servers that the space names, and what these tell is remembered', async () => {
    const root = await space()
    const [inner, plain, deep] = [far('inner'), far('plain'), far('deep')]
    await add(root, inner, { via: ['dead.test', 'far.test'], order: 'a' })
    tells({ [inner]: { children: [plain, deep], summaries: [summary(plain)] }, [deep]: {} })
    const script = remote.script
    remote.script = (server, request) => (server === 'dead.test' ? undefined : script(server, request)) as object
    const page = await hierarchy(bob, root)
    expect(ids(page)).toEqual([root, inner, plain, deep].sort((a, b) => order(a) - order(b)))
    expect(page.rooms.find((room: { room_id: string }) => room.room_id === plain)).toMatchObject({
      num_joined_members: 3,
      children_state: [],
    })
    expect(remote.asked.map(({ server }) => server)).toEqual(['dead.test', 'far.test', 'far.test'])
    expect(askedRooms()).toEqual([inner, inner, deep])
    await hierarchy(alice, root)
    expect(remote.asked).toHaveLength(3)

    function order(id: string): number {
      return [root, inner, ...[plain, deep].sort()].indexOf(id)
    }
  })

  it('are shown to those who could join them', async () => {
    const root = await space()
    const lobby = await alice.createRoom()
    const inner = far('inner')
    const [restricted, hidden, said] = [far('a'), far('b'), far('c')]
    await add(root, inner, { via: ['far.test'] })
    tells({
      [inner]: {
        children: [restricted, hidden, said],
        summaries: [
          summary(restricted, undefined, { join_rule: 'restricted', allowed_room_ids: [lobby, 7] }),
          summary(hidden, undefined, { join_rule: 'invite' }),
        ],
        inaccessible: [said],
      },
    })
    expect(ids(await hierarchy(bob, root))).toEqual([root, inner])
    await bob.join(lobby)
    expect(ids(await hierarchy(bob, root))).toEqual([root, inner, restricted])
    expect(askedRooms()).toEqual([inner])
  })

  it('are only what a server was asked for: it cannot speak of rooms that are here, or in other spaces', async () => {
    const root = await space()
    const secret = await alice.createRoom({ preset: 'private_chat' })
    const [inner, other] = [far('inner'), far('other')]
    await add(root, inner, { via: ['far.test'], order: 'a' })
    await add(root, other, { via: ['far.test'], order: 'b' })
    tells({
      [inner]: { children: [secret], summaries: [summary(secret, undefined, { name: 'Lie' }), summary(other)] },
      [other]: { room: { room_id: inner } },
    })
    expect(ids(await hierarchy(bob, root))).toEqual([root, inner])
  })

  it.each<[string, object | string]>([
    ['nothing', {}],
    ['no JSON', '<html>'],
    ['children that are none', { room: { room_id: 1 } }],
    ['of a number', { room: 7, children: 7, inaccessible_children: 7 }],
  ])('are left out when the answer is %s', async (_sentence, answer) => {
    const root = await space()
    await add(root, far('inner'), { via: ['far.test'] })
    remote.script = () => answer
    expect(ids(await hierarchy(bob, root))).toEqual([root])
  })

  it('do not make a walk without an end', async () => {
    const root = await space()
    await add(root, far('deep'), { via: ['far.test'] })
    remote.script = (_server, request) => {
      const roomId = decodeURIComponent(/\/hierarchy\/([^?]*)/.exec(request.path)![1]!)
      return { room: { ...summary(roomId, 'm.space'), children_state: [childEvent(far('deeper'))] } }
    }
    const page = await hierarchy(bob, root, '?max_depth=1000&limit=1000')
    expect(page.rooms).toHaveLength(50)
    const next = await hierarchy(bob, root, `?from=${page.next_batch}`)
    expect(next.rooms).toHaveLength(1)
    expect(next).not.toHaveProperty('next_batch')
  })
})

describe('the summary of a room', () => {
  const ofRoom = (idOrAlias: string, query = '') =>
    `/_matrix/client/v1/room_summary/${encodeURIComponent(idOrAlias)}${query}`

  it('is told to who could join, with their membership, by id and by alias', async () => {
    const room = await alice.createRoom({ preset: 'public_chat', name: 'Tea', room_alias_name: 'summary' })
    const expected = { room_id: room, name: 'Tea', join_rule: 'public', room_version: expect.any(String) }
    expect(await alice.ok('GET', ofRoom(room))).toMatchObject({ ...expected, membership: 'join' })
    expect(await bob.ok('GET', ofRoom('#summary:hearth.test'))).toMatchObject({ ...expected, membership: 'leave' })
    const { body } = await nobody.get(ofRoom(room))
    expect(body).toMatchObject(expected)
    expect(body).not.toHaveProperty('membership')
    expect(body).not.toHaveProperty('children_state')
    const asElementAsks = `/_matrix/client/unstable/im.nheko.summary/summary/${encodeURIComponent(room)}`
    expect(await bob.ok('GET', asElementAsks)).toMatchObject({ ...expected, membership: 'leave' })
  })

  it('is not told of rooms that are closed to the asker', async () => {
    const secret = await alice.createRoom({ preset: 'private_chat' })
    expect(answerOf(await bob.get(ofRoom(secret)))).toBe('404 M_NOT_FOUND')
    expect(answerOf(await nobody.get(ofRoom(secret)))).toBe('404 M_NOT_FOUND')
    expect(answerOf(await bob.get(ofRoom('!unknown:hearth.test')))).toBe('404 M_NOT_FOUND')
    expect(answerOf(await bob.get(ofRoom('#unknown:hearth.test')))).toBe('404 M_NOT_FOUND')
    expect(answerOf(await bob.get(ofRoom('unknown')))).toBe('400 M_INVALID_PARAM')
  })

  it('of a room elsewhere is asked for users, of the servers they name', async () => {
    const room = far('room')
    tells({ [room]: { room: { name: 'Far', room_type: undefined, encryption: 'm.megolm.v1.aes-sha2' } } })
    expect(answerOf(await nobody.get(ofRoom(room, '?via=near.test')))).toBe('404 M_NOT_FOUND')
    expect(remote.asked).toEqual([])
    const query = '?via=near.test&via=no+name&via=hearth.test'
    expect(await bob.ok('GET', ofRoom(room, query))).toEqual({
      ...summary(room),
      room_type: undefined,
      name: 'Far',
      encryption: 'm.megolm.v1.aes-sha2',
      allowed_room_ids: [],
      membership: 'leave',
    })
    expect(remote.asked.map(({ server }) => server)).toEqual(['near.test'])
  })
})
