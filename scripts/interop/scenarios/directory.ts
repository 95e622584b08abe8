import { randomBytes } from 'node:crypto'
import { joinVia, refused, same, sees, setState, soon, v3 } from '../actions.js'
import type { Scenario, Stage } from '../scenario.js'

const space = { preset: 'public_chat', creation_content: { type: 'm.space' }, name: 'a space' }

const addChild = (stage: Stage, parent: string, child: string, via: string, suggested = false): Promise<string> =>
  setState(stage.alice, parent, 'm.space.child', { via: [via], suggested }, child)

export const directory: readonly Scenario[] = [
  {
    name: 'aliases: found, joined by, taken away',
    async play(stage) {
      const { alice, bob } = stage
      const room_alias_name = `plaza-${randomBytes(4).toString('hex')}`
      const roomId = await stage.room({ preset: 'public_chat', room_alias_name })
      const alias = `#${room_alias_name}:${stage.home.name}`
      const path = `${v3}/directory/room/${encodeURIComponent(alias)}`
      const { room_id, servers } = await bob.ok('GET', path)
      same('the alias', [room_id, servers.includes(stage.home.name)], [roomId, true])
      await joinVia(bob, alias)
      await sees(alice, roomId, bob, 'join')
      await alice.ok('DELETE', path)
      refused(await bob.get(path), 'M_NOT_FOUND')
    },
  },
  {
    name: 'aliases of the other server in the canonical alias',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const name = `forum-${randomBytes(4).toString('hex')}`
      const alias = `#${name}:${stage.away.name}`
      await bob.ok('PUT', `${v3}/directory/room/${encodeURIComponent(alias)}`, { room_id: roomId })
      await setState(alice, roomId, 'm.room.canonical_alias', { alias })
      const wrong = { alias: `#nothing-${name}:${stage.away.name}` }
      const answer = await alice.put(`${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.canonical_alias/`, wrong)
      same('an alias that is not there', answer.status, 400)
    },
  },
  {
    name: 'the room directory of the other server, paged and searched',
    async play({ alice, bob, home }) {
      const word = `word${randomBytes(4).toString('hex')}`
      const made: string[] = []
      for (let i = 0; i < 3; i++) {
        made.push(
          await alice.createRoom({ preset: 'public_chat', visibility: 'public', name: `${word} ${i}`, topic: 'x' }),
        )
      }
      type Page = { chunk: { room_id: string; name: string }[]; next_batch?: string }
      const path = `${v3}/publicRooms?server=${home.name}`
      const search = (body: object): Promise<Page> => bob.ok('POST', path, body)
      const found = await search({ filter: { generic_search_term: word } })
      same('found', found.chunk.map(({ room_id }) => room_id).sort(), [...made].sort())
      const all: string[] = []
      let since: string | undefined
      do {
        const query: string = since === undefined ? '' : `&since=${encodeURIComponent(since)}`
        const page: Page = await bob.ok('GET', `${path}&limit=2${query}`)
        all.push(...page.chunk.map(({ room_id }) => room_id))
        since = page.next_batch
      } while (since !== undefined)
      same(
        'all pages',
        made.filter((roomId) => !all.includes(roomId)),
        [],
      )
    },
  },
  {
    name: 'the hierarchy of a space of the other server',
    async play(stage) {
      const { alice, bob, home, away } = stage
      const root = await alice.createRoom(space)
      const inner = await alice.createRoom({ ...space, name: 'inside' })
      const open = await alice.createRoom({ preset: 'public_chat', name: 'open' })
      const closed = await alice.createRoom({ preset: 'private_chat', name: 'closed' })
      const elsewhere = await bob.createRoom({ preset: 'public_chat', name: 'elsewhere' })
      await addChild(stage, root, inner, home.name)
      await addChild(stage, root, closed, home.name)
      await addChild(stage, root, open, home.name, true)
      await addChild(stage, inner, elsewhere, away.name)
      const seenBy = async (user: typeof bob, roomId: string) => {
        const { rooms } = await user.ok('GET', `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/hierarchy`)
        return rooms.map(({ room_id }: { room_id: string }) => room_id).sort()
      }
      await joinVia(bob, root, home.name)
      await sees(alice, root, bob, 'join')
      same('bob sees', await seenBy(bob, root), [root, inner, open, elsewhere].sort())
      same('alice sees', await seenBy(alice, root), [root, inner, open, closed, elsewhere].sort())
    },
  },
  {
    name: 'the summary of a room of the other server',
    async play({ alice, bob, home }) {
      const roomId = await alice.createRoom({ preset: 'public_chat', name: 'shown', topic: 'to all' })
      const path = `/_matrix/client/v1/room_summary/${encodeURIComponent(roomId)}?via=${home.name}`
      const { name, topic, num_joined_members } = await bob.ok('GET', path)
      same('summary', [name, topic, num_joined_members], ['shown', 'to all', 1])
      const secret = await alice.createRoom({ preset: 'private_chat', name: 'hidden' })
      const hidden = await bob.get(`/_matrix/client/v1/room_summary/${encodeURIComponent(secret)}?via=${home.name}`)
      same('a private one', hidden.status >= 403, true)
    },
  },
  {
    name: 'OpenID tokens are told of to who asks the server',
    async play({ alice, bob }) {
      for (const user of [alice, bob]) {
        const path = `${v3}/user/${encodeURIComponent(user.userId)}/openid/request_token`
        const { access_token, matrix_server_name } = await user.ok('POST', path, {})
        same('server', user.userId.endsWith(`:${matrix_server_name}`), true)
        const info = `/_matrix/federation/v1/openid/userinfo?access_token=${encodeURIComponent(access_token)}`
        const told = await soon('it is told', async () => (await user.get(info)).body.sub)
        same('user', told, user.userId)
      }
    },
  },
]
