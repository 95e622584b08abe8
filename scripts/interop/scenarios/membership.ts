import { act, inSync, joinVia, knock, leave, memberships, moderate, reads, refused, roomPath } from '../actions.js'
import { same, sees, serverOf, setState, soon, stateContent, tryToJoin } from '../actions.js'
import type { TestUser } from '../../../test/support/test-user.js'
import type { Scenario } from '../scenario.js'

const allowing = (rule: string, roomId: string): object => ({
  preset: 'private_chat',
  initial_state: [
    {
      type: 'm.room.join_rules',
      state_key: '',
      content: { join_rule: rule, allow: [{ type: 'm.room_membership', room_id: roomId }] },
    },
  ],
})

export const membership: readonly Scenario[] = [
  {
    name: 'join, and messages both ways',
    async play(stage) {
      const roomId = await stage.shared()
      await stage.alice.say(roomId, 'hello')
      await reads(stage.bob, roomId, 'hello')
      await stage.bob.say(roomId, 'hello to you')
      await reads(stage.alice, roomId, 'hello to you')
    },
  },
  {
    name: 'join of a second user, and of a user of the first server by the second',
    async play(stage) {
      const roomId = await stage.shared()
      const [ben, anna] = await Promise.all([stage.away.user(), stage.home.user()])
      await stage.letIn(ben, roomId)
      await joinVia(anna, roomId, stage.away.name)
      await sees(stage.bob, roomId, anna, 'join')
    },
  },
  {
    name: 'join of a room with much state',
    async play(stage) {
      const roomId = await stage.room()
      for (let i = 0; i < 60; i++) await setState(stage.alice, roomId, 'org.example.thing', { i }, `thing ${i}`)
      await stage.letIn(stage.bob, roomId)
    },
  },
  {
    name: 'join of a room with many members, who speak and go meanwhile',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room()
      const crowd: TestUser[] = []
      for (let i = 0; i < 60; i++) {
        crowd.push(await stage.home.user())
        await crowd.at(-1)!.join(roomId)
      }
      await joinVia(bob, roomId, stage.home.name)
      const [last, gone, banned] = crowd.slice(-3) as [TestUser, TestUser, TestUser]
      await Promise.all([last.say(roomId, 'hello'), leave(gone, roomId), moderate(alice, roomId, 'ban', banned)])
      await bob.say(roomId, 'hello all')
      await reads(last, roomId, 'hello all')
      await sees(bob, roomId, banned, 'ban')
    },
  },
  {
    name: 'join of a room that is not public is refused',
    async play({ alice, bob }) {
      const roomId = await alice.createRoom({ preset: 'private_chat' })
      refused(await tryToJoin(bob, roomId, serverOf(alice)), 'M_FORBIDDEN')
    },
  },
  {
    name: 'invite, join',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room({ preset: 'private_chat', name: 'secret place' })
      await moderate(alice, roomId, 'invite', bob)
      const { invite_state } = await inSync(bob, 'invite', roomId)
      const types = invite_state.events.map(({ type }: { type: string }) => type)
      const missing = ['m.room.create', 'm.room.name', 'm.room.join_rules'].filter((type) => !types.includes(type))
      same('missing in invite_state', missing, [])
      await bob.join(roomId)
      await sees(alice, roomId, bob, 'join')
    },
  },
  {
    name: 'invite while the room is made, as a direct chat',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room({ preset: 'trusted_private_chat', is_direct: true, invite: [bob.userId] })
      await inSync(bob, 'invite', roomId)
      await bob.join(roomId)
      await sees(alice, roomId, bob, 'join')
    },
  },
  {
    name: 'invite, declined, again, joined',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room({ preset: 'private_chat' })
      await moderate(alice, roomId, 'invite', bob)
      await inSync(bob, 'invite', roomId)
      await leave(bob, roomId)
      await sees(alice, roomId, bob, 'leave')
      await moderate(alice, roomId, 'invite', bob)
      await inSync(bob, 'invite', roomId)
      await bob.join(roomId)
      await sees(alice, roomId, bob, 'join')
    },
  },
  {
    name: 'invite, taken back',
    async play({ alice, bob }) {
      const roomId = await alice.createRoom({ preset: 'private_chat' })
      await moderate(alice, roomId, 'invite', bob)
      await inSync(bob, 'invite', roomId)
      await moderate(alice, roomId, 'kick', bob)
      await soon('the invite is gone', async () => (await bob.sync()).rooms?.invite?.[roomId] === undefined)
    },
  },
  {
    name: 'invite of nobody is refused',
    async play({ alice, away }) {
      const roomId = await alice.createRoom({ preset: 'private_chat' })
      const answer = await act(alice, roomId, 'invite', { user_id: `@nobody-of-that-name:${away.name}` })
      // Synapse takes an invite for anybody of its name.
      if (away.kind === 'Hearth') same('members', Object.keys(await memberships(alice, roomId)), [alice.userId])
      else same('status', answer.status, 200)
    },
  },
  {
    name: 'knock, invite, join',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room({ preset: 'private_chat', name: 'closed door' })
      await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'knock' })
      await knock(bob, roomId, stage.home.name)
      await inSync(bob, 'knock', roomId)
      await sees(alice, roomId, bob, 'knock')
      await moderate(alice, roomId, 'invite', bob)
      await inSync(bob, 'invite', roomId)
      await bob.join(roomId)
      await sees(alice, roomId, bob, 'join')
    },
  },
  {
    name: 'knock, taken back',
    leftOut: { hearthIs: 'home', because: 'Synapse tells nobody of a knock that is taken back' },
    async play(stage) {
      const { alice, bob, home } = stage
      const roomId = await alice.createRoom({ preset: 'private_chat' })
      await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'knock' })
      await knock(bob, roomId, home.name)
      await sees(alice, roomId, bob, 'knock')
      await leave(bob, roomId)
      await sees(alice, roomId, bob, 'leave')
    },
  },
  {
    name: 'knock, turned away',
    leftOut: { hearthIs: 'either', because: 'Synapse does not tell the server of who knocked, nor listens to it' },
    async play() {},
  },
  ...['restricted', 'knock_restricted'].map(
    (rule) =>
      ({
        name: `${rule} join, by the membership of another room`,
        async play(stage) {
          const { alice, bob, away } = stage
          const space = await stage.shared()
          const roomId = await stage.room(allowing(rule, space))
          const stranger = await away.user()
          refused(await tryToJoin(stranger, roomId, stage.home.name), 'M_FORBIDDEN')
          await stage.letIn(bob, roomId)
          const { join_authorised_via_users_server } = await stateContent(alice, roomId, 'm.room.member', bob.userId)
          same('authorised by', join_authorised_via_users_server, alice.userId)
          await joinVia(stranger, space, stage.home.name)
          await sees(alice, space, stranger, 'join')
          await stage.letIn(stranger, roomId)
        },
      }) satisfies Scenario,
  ),
  {
    name: 'restricted join into a room that is here already, by the word of the other server',
    async play(stage) {
      const { alice, bob, home } = stage
      const space = await stage.shared()
      const power_level_content_override = { invite: 50 }
      const roomId = await stage.room({ ...allowing('restricted', space), power_level_content_override })
      await stage.letIn(bob, roomId)
      const ben = await stage.away.user()
      await joinVia(ben, space, home.name)
      await sees(alice, space, ben, 'join')
      // Bob's server is in the room, and may not invite into it.
      await joinVia(ben, roomId, home.name)
      await sees(alice, roomId, ben, 'join')
      const { join_authorised_via_users_server } = await stateContent(alice, roomId, 'm.room.member', ben.userId)
      same('authorised by', join_authorised_via_users_server, alice.userId)
    },
  },
  {
    name: 'restricted join, refused to who has left the other room',
    async play(stage) {
      const { alice, bob, home } = stage
      const space = await alice.createRoom()
      await joinVia(bob, space, home.name)
      await sees(alice, space, bob, 'join')
      const inside = await stage.room(allowing('restricted', space))
      await leave(bob, space)
      await sees(alice, space, bob, 'leave')
      refused(await tryToJoin(bob, inside, home.name), 'M_FORBIDDEN')
      await joinVia(bob, space, home.name)
      await sees(alice, space, bob, 'join')
      await stage.letIn(bob, inside)
    },
  },
  {
    name: 'leave, changes meanwhile, join again',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await leave(bob, roomId)
      await sees(alice, roomId, bob, 'leave')
      await setState(alice, roomId, 'm.room.topic', { topic: 'meanwhile' })
      for (let i = 0; i < 15; i++) await alice.say(roomId, `meanwhile ${i}`)
      await stage.letIn(bob, roomId)
      same('topic', (await stateContent(bob, roomId, 'm.room.topic')).topic, 'meanwhile')
      await alice.say(roomId, 'welcome back')
      await reads(bob, roomId, 'welcome back')
    },
  },
  {
    name: 'the maker leaves, the other server goes on, the maker joins by it',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await leave(alice, roomId)
      await sees(bob, roomId, alice, 'leave')
      await bob.say(roomId, 'alone')
      await joinVia(alice, roomId, stage.away.name)
      await sees(bob, roomId, alice, 'join')
      await alice.say(roomId, 'here again')
      await reads(bob, roomId, 'here again')
    },
  },
  {
    name: 'kick, join again',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await moderate(alice, roomId, 'kick', bob)
      await inSync(bob, 'leave', roomId)
      await stage.letIn(bob, roomId)
    },
  },
  {
    name: 'ban, join refused, unban, join',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await moderate(alice, roomId, 'ban', bob)
      await inSync(bob, 'leave', roomId)
      refused(await tryToJoin(bob, roomId, stage.home.name), 'M_FORBIDDEN')
      await moderate(alice, roomId, 'unban', bob)
      await sees(alice, roomId, bob, 'leave')
      await stage.letIn(bob, roomId)
    },
  },
  {
    name: 'a moderator of the other server bans and unbans',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const [anna, ben] = await Promise.all([stage.home.user(), stage.away.user()])
      await anna.join(roomId)
      await stage.letIn(ben, roomId)
      const levels = await stateContent(alice, roomId, 'm.room.power_levels')
      const users = { ...levels.users, [bob.userId]: 50 }
      await setState(alice, roomId, 'm.room.power_levels', { ...levels, users })
      const promoted = async () => (await stateContent(bob, roomId, 'm.room.power_levels')).users[bob.userId] === 50
      await soon('bob is a moderator', promoted)
      await sees(bob, roomId, anna, 'join')
      await moderate(bob, roomId, 'ban', anna)
      await sees(alice, roomId, anna, 'ban')
      await moderate(bob, roomId, 'kick', ben)
      await sees(alice, roomId, ben, 'leave')
      await moderate(bob, roomId, 'unban', anna)
      await sees(alice, roomId, anna, 'leave')
      await anna.join(roomId)
      await sees(bob, roomId, anna, 'join')
    },
  },
  {
    name: 'a banned server is not spoken with',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const acl = { allow: ['*'], deny: [stage.away.name, 'localhost'], allow_ip_literals: true }
      const before = await alice.say(roomId, 'before')
      await reads(bob, roomId, 'before')
      await setState(alice, roomId, 'm.room.server_acl', acl)
      const heard = async () => (await stateContent(bob, roomId, 'm.room.server_acl')).deny !== undefined
      await soon('bob hears of it', heard)
      const ignored = await bob.say(roomId, 'nobody hears this')
      await setState(alice, roomId, 'm.room.topic', { topic: 'quiet' })
      same('still there', (await alice.get(roomPath(roomId, 'event', before))).status, 200)
      const gotIt = await alice.get(roomPath(roomId, 'event', ignored))
      same('the ignored', gotIt.status, 404)
      stage.rooms.length = 0
    },
  },
]
