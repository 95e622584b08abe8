/** Joins of rooms whose members are still to come, held up so that users act meanwhile. */
import { rulesOf } from '../../../src/protocol/room-versions.js'
import type { TestUser } from '../../../test/support/test-user.js'
import {
  act,
  bodies,
  inSync,
  joinVia,
  leave,
  moderate,
  reads,
  redact,
  roomPath,
  same,
  sees,
  setState,
  soon,
  stateContent,
  v3,
} from '../actions.js'
import type { Scenario, Stage } from '../scenario.js'
import type { Server } from '../server.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- answers of every shape are looked into */

const CROWD = 60
/** In each room version. */
const FEW = 15

const crowds = new Map<Server, TestUser[]>()

/** Users of one server, the same in each room: making them takes longer than anything they do. */
async function crowdOf(server: Server, size: number): Promise<readonly TestUser[]> {
  const users = crowds.get(server) ?? []
  crowds.set(server, users)
  while (users.length < size) users.push(await server.user())
  return users.slice(0, size)
}

interface Scene {
  readonly roomId: string
  /** At home, in the room, and unknown to who comes from away. */
  readonly crowd: readonly TestUser[]
}

/** Bob is in, as a moderator; nothing reaches the home server any more, and so no member comes. */
async function withoutMembers(stage: Stage, { size = CROWD, version = '12' } = {}): Promise<Scene> {
  const { alice, bob, home, away } = stage
  const crowd = await crowdOf(home, size)
  const makers = rulesOf(version)!.privilegedCreators ? {} : { [alice.userId]: 100 }
  const power_level_content_override = { users: { ...makers, [bob.userId]: 50 } }
  const options = { preset: 'public_chat', room_version: version, power_level_content_override }
  for (let attempt = 1; attempt <= 3; attempt++) {
    const roomId = await stage.room(options)
    for (const user of crowd) await user.join(roomId)
    await joinVia(bob, roomId, home.name)
    home.link.holdUp()
    // Some members come with the join, to name the room by: the first.
    if ((await away.room(roomId)).isPartial) return { roomId, crowd: crowd.slice(-5) }
    await home.link.mend()
  }
  throw new Error('the members come before they can be held up')
}

/** The only sync that shows such a room at every server. */
const lazySync = (user: TestUser): Promise<any> =>
  user.sync({ filter: { room: { state: { lazy_load_members: true }, timeline: { limit: 50 } } } })

/** Until the user reads this, in a room whose members are still to come. */
const readsEarly = (user: TestUser, roomId: string, words: string): Promise<boolean> =>
  soon(`${user.userId} reads “${words}” without the members`, async () =>
    bodies((await lazySync(user)).rooms?.join?.[roomId]?.timeline.events ?? []).includes(words),
  )

async function usedMeanwhile(stage: Stage, { roomId, crowd }: Scene): Promise<void> {
  const { alice, bob, home } = stage
  const [talker, leaver, kicked, banned, renamed] = crowd as [TestUser, TestUser, TestUser, TestUser, TestUser]
  for (const type of ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'])
    await bob.ok('GET', roomPath(roomId, 'state', type, ''))
  await soon('the room is there', async () => (await lazySync(bob)).rooms?.join?.[roomId])
  const words = await bob.say(roomId, 'I am in')
  await bob.say(roomId, 'and nobody hears me')
  await setState(bob, roomId, 'm.room.name', { name: 'of bob' })
  await alice.say(roomId, 'hello')
  await readsEarly(bob, roomId, 'hello')
  await setState(alice, roomId, 'm.room.topic', { topic: 'by alice' })
  await soon('bob sees the topic', async () => (await stateContent(bob, roomId, 'm.room.topic')).topic === 'by alice')
  await redact(bob, roomId, words)
  // What members do who are unknown waits for what lets them, which has to be asked for.
  await talker.say(roomId, 'I was here before')
  await leave(leaver, roomId)
  await moderate(alice, roomId, 'kick', kicked)
  await moderate(alice, roomId, 'ban', banned)
  await setState(renamed, roomId, 'm.room.member', { membership: 'join', displayname: 'renamed' }, renamed.userId)
  await (await home.user()).join(roomId)
}

async function goesOn(stage: Stage, { roomId, crowd }: Scene): Promise<void> {
  const { alice, bob, home } = stage
  await home.link.mend()
  await reads(alice, roomId, 'and nobody hears me')
  await reads(bob, roomId, 'I was here before')
  const [, leaver, kicked, banned, renamed] = crowd as [TestUser, TestUser, TestUser, TestUser, TestUser]
  for (const user of [leaver, kicked]) await sees(bob, roomId, user, 'leave')
  await sees(bob, roomId, banned, 'ban')
  const { displayname } = await bob.ok('GET', roomPath(roomId, 'state', 'm.room.member', renamed.userId))
  same('name', displayname, 'renamed')
  await stage.meetAgain(roomId)
}

/** What waits for members does not hold up the room, and comes about when they are here. */
async function heardMeanwhile({ alice, bob, home }: Stage, roomId: string): Promise<void> {
  await alice.say(roomId, 'it takes a while')
  await readsEarly(bob, roomId, 'it takes a while')
  await home.link.mend()
}

const inVersion = (version: string): Scenario => ({
  name: `version ${version}: members come late, and both sides speak, set state, leave, kick and ban meanwhile`,
  async play(stage) {
    const scene = await withoutMembers(stage, { size: FEW, version })
    await usedMeanwhile(stage, scene)
    await goesOn(stage, scene)
  },
})

export const partialJoins: readonly Scenario[] = [
  {
    name: 'members come late, and both sides speak, set state, leave, kick and ban meanwhile',
    async play(stage) {
      const scene = await withoutMembers(stage)
      await usedMeanwhile(stage, scene)
      await goesOn(stage, scene)
    },
  },
  {
    name: 'members come late, and who came bans, kicks and invites members that are still to come',
    async play(stage) {
      const { alice, bob, home, away } = stage
      const { roomId, crowd } = await withoutMembers(stage)
      const [banned, kicked] = crowd as [TestUser, TestUser]
      const anna = await home.user()
      await Promise.all([
        moderate(bob, roomId, 'ban', banned),
        moderate(bob, roomId, 'invite', anna),
        away.kind === 'Hearth' ? moderate(bob, roomId, 'kick', kicked) : undefined,
        heardMeanwhile(stage, roomId),
      ])
      // Who is still to come is not in the room for Synapse.
      const kicks = async () => (await act(bob, roomId, 'kick', { user_id: kicked.userId })).status === 200
      if (away.kind === 'Synapse') await soon('bob kicks', kicks)
      await inSync(anna, 'invite', roomId)
      await anna.join(roomId)
      await sees(alice, roomId, banned, 'ban')
      await sees(alice, roomId, kicked, 'leave')
      await sees(bob, roomId, anna, 'join')
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'members come late, and others of the server come in meanwhile',
    async play(stage) {
      const { alice, home, away } = stage
      const { roomId } = await withoutMembers(stage)
      const [ben, beth] = await Promise.all([away.user(), away.user()])
      await Promise.all([...[ben, beth].map((user) => joinVia(user, roomId, home.name)), heardMeanwhile(stage, roomId)])
      for (const user of [ben, beth]) await sees(alice, roomId, user, 'join')
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'members come late, and the server is restarted before they do',
    async play(stage) {
      const { alice, bob, home, away } = stage
      const { roomId, crowd } = await withoutMembers(stage)
      await bob.say(roomId, 'before')
      await alice.say(roomId, 'hello')
      await readsEarly(bob, roomId, 'hello')
      await away.restart()
      await bob.say(roomId, 'afterwards')
      await moderate(alice, roomId, 'ban', crowd[0]!)
      await home.link.mend()
      await reads(alice, roomId, 'afterwards')
      await sees(bob, roomId, crowd[0]!, 'ban')
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'members come late, a cut, and both sides go on',
    async play(stage) {
      const { alice, bob, away } = stage
      const { roomId, crowd } = await withoutMembers(stage)
      const [talker, banned] = crowd as [TestUser, TestUser]
      await stage.apart(
        roomId,
        async () => {
          await setState(bob, roomId, 'm.room.topic', { topic: 'by bob' })
          await setState(alice, roomId, 'm.room.topic', { topic: 'by alice' })
          await moderate(alice, roomId, 'ban', banned)
          await leave(talker, roomId)
          await setState(bob, roomId, 'm.room.name', { name: 'of bob' })
        },
        // Synapse gives up when nobody tells it the state, until it is started again.
        async () => (away.kind === 'Synapse' ? away.restart() : undefined),
      )
      await sees(bob, roomId, banned, 'ban')
      await sees(bob, roomId, talker, 'leave')
    },
  },
  {
    name: 'members come late, and who came is banned before they do',
    async play(stage) {
      const { alice, bob, home } = stage
      const { roomId } = await withoutMembers(stage)
      await bob.say(roomId, 'nobody hears this in time')
      await moderate(alice, roomId, 'ban', bob)
      await soon('bob is out', async () => {
        const { joined_rooms } = await bob.ok('GET', `${v3}/joined_rooms`)
        return !joined_rooms.includes(roomId)
      })
      await home.link.mend()
      await moderate(alice, roomId, 'unban', bob)
      await stage.letIn(bob, roomId)
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'members come late, and who came leaves before they do, and comes again',
    leftOut: { hearthIs: 'home', because: 'with Synapse a leave waits for the members' },
    async play(stage) {
      const { alice, bob, home } = stage
      const { roomId } = await withoutMembers(stage)
      await bob.say(roomId, 'I came')
      await leave(bob, roomId)
      await home.link.mend()
      await sees(alice, roomId, bob, 'leave')
      await stage.letIn(bob, roomId)
      await stage.meetAgain(roomId)
    },
  },
  ...['1', '2', '6', '10', '11'].map(inVersion),
]
