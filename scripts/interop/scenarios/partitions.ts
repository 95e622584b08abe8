import type { TestUser } from '../../../test/support/test-user.js'
import { roomVersionNames } from '../../../src/protocol/room-versions.js'
import {
  bodies,
  history,
  joinVia,
  tryToJoin,
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
} from '../actions.js'
import type { Scenario, Stage } from '../scenario.js'

const levelsOf = (user: TestUser, roomId: string) => stateContent(user, roomId, 'm.room.power_levels')

async function change(
  user: TestUser,
  roomId: string,
  levels: object,
  users: Record<string, number> = {},
): Promise<void> {
  const now = await levelsOf(user, roomId)
  await setState(user, roomId, 'm.room.power_levels', { ...now, ...levels, users: { ...now.users, ...users } })
}

async function promote(stage: Stage, roomId: string, user: TestUser, level: number): Promise<void> {
  await change(stage.alice, roomId, {}, { [user.userId]: level })
  const promoted = async () => (await levelsOf(user, roomId)).users?.[user.userId] === level
  await soon(`${user.userId} is at ${level}`, promoted)
}

const messagesApart = (count: number): Scenario => ({
  name: `a cut, ${count} messages on each side, all are there afterwards`,
  async play(stage) {
    const { alice, bob } = stage
    const roomId = await stage.shared()
    const said: string[] = []
    await stage.apart(roomId, async () => {
      for (let i = 0; i < count; i++) {
        for (const user of [alice, bob]) {
          said.push(`${i} of ${user.userId}`)
          await user.say(roomId, said.at(-1)!)
        }
      }
    })
    for (const user of [alice, bob]) {
      const missing = async () => {
        const read = new Set(bodies(await history(user, roomId)))
        return said.filter((text) => !read.has(text))
      }
      await soon(`${user.userId} reads all`, async () => (await missing()).length === 0).catch(async () => {
        same(`${user.userId} misses`, await missing(), [])
      })
    }
  },
})

const longApart = (count: number): Scenario => ({
  name: `a cut, ${count} changes on each side, more than are asked for one by one`,
  async play(stage) {
    const { alice, bob } = stage
    const roomId = await stage.shared()
    await promote(stage, roomId, bob, 50)
    await stage.apart(roomId, async () => {
      const changes = async (user: TestUser) => {
        for (let n = 0; n < count; n++) {
          if (n % 3 === 0) await setState(user, roomId, 'm.room.topic', { topic: `${n} of ${user.userId}` })
          else await setState(user, roomId, 'org.example.thing', { n, by: user.userId }, `${n % 40}`)
        }
      }
      await Promise.all([changes(alice), changes(bob)])
    })
    // A Synapse that was sent the first change and then the last, and did not ask for what lies between, goes on from both
    // until its next event.
    await stage.meetAgain(roomId)
  },
})

const fights = (version: string): Scenario[] => [
  {
    name: `version ${version}: a cut, and power levels, bans, topics and members change on both sides`,
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared({ preset: 'public_chat', room_version: version })
      const [anna, ben] = await Promise.all([stage.home.user(), stage.away.user()])
      await anna.join(roomId)
      await sees(bob, roomId, anna, 'join')
      await stage.letIn(ben, roomId)
      await promote(stage, roomId, bob, 50)
      await stage.apart(roomId, async () => {
        await setState(bob, roomId, 'm.room.topic', { topic: 'by bob' })
        await moderate(bob, roomId, 'ban', anna)
        await ben.say(roomId, 'well done')
        await setState(alice, roomId, 'm.room.topic', { topic: 'by alice' })
        await anna.say(roomId, 'who bans me?')
        await change(alice, roomId, { redact: 60 }, { [bob.userId]: 0 })
        await moderate(alice, roomId, 'kick', ben)
        await setState(alice, roomId, 'm.room.name', { name: 'of alice' })
        await setState(bob, roomId, 'm.room.name', { name: 'of bob' })
      })
    },
  },
  {
    name: `version ${version}: a cut, and two administrators set power levels against each other`,
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared({ preset: 'public_chat', room_version: version })
      const [anna, ben] = await Promise.all([stage.home.user(), stage.away.user()])
      await anna.join(roomId)
      await sees(bob, roomId, anna, 'join')
      await stage.letIn(ben, roomId)
      await promote(stage, roomId, bob, version === '12' ? 150 : 100)
      await stage.apart(roomId, async () => {
        await change(alice, roomId, { ban: 75 }, { [anna.userId]: 75 })
        await change(bob, roomId, { kick: 80 }, { [ben.userId]: 80 })
        await moderate(anna, roomId, 'ban', ben)
        await moderate(ben, roomId, 'ban', anna)
        await change(bob, roomId, { state_default: 60 })
        await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'invite' })
        await setState(bob, roomId, 'm.room.topic', { topic: 'mine now' })
      })
    },
  },
]

export const partitions: readonly Scenario[] = [
  messagesApart(4),
  messagesApart(40),
  longApart(230),
  {
    name: 'a cut, the topic is set on both sides, once more afterwards',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await promote(stage, roomId, bob, 50)
      await stage.apart(roomId, async () => {
        await setState(alice, roomId, 'm.room.topic', { topic: 'alice' })
        await setState(bob, roomId, 'm.room.topic', { topic: 'bob' })
      })
      const agreed = async () =>
        (await stateContent(alice, roomId, 'm.room.topic')).topic ===
        (await stateContent(bob, roomId, 'm.room.topic')).topic
      await soon('they agree', agreed)
      await setState(bob, roomId, 'm.room.topic', { topic: 'settled' })
      await soon('alice sees it', async () => (await stateContent(alice, roomId, 'm.room.topic')).topic === 'settled')
    },
  },
  {
    name: 'a cut, who is banned on one side speaks on the other',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const ben = await stage.away.user()
      await stage.letIn(ben, roomId)
      await stage.apart(roomId, async () => {
        await moderate(alice, roomId, 'ban', ben)
        await ben.say(roomId, 'banned already')
        await bob.say(roomId, 'I heard ben')
      })
      await sees(bob, roomId, ben, 'ban')
    },
  },
  {
    name: 'a cut, who left on one side is kicked on the other, and somebody joins',
    async play(stage) {
      const { alice } = stage
      const roomId = await stage.shared()
      const [ben, eve] = await Promise.all([stage.away.user(), stage.away.user()])
      await stage.letIn(ben, roomId)
      await stage.apart(roomId, async () => {
        await moderate(alice, roomId, 'kick', ben)
        await leave(ben, roomId)
        await eve.join(roomId)
      })
      await sees(alice, roomId, eve, 'join')
    },
  },
  {
    name: 'a cut, all of one server leave, and come back to what others have made of the room',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const [anna, ben] = await Promise.all([stage.home.user(), stage.away.user()])
      await stage.letIn(ben, roomId)
      let lastWords: readonly string[] = []
      await stage.apart(
        roomId,
        async () => {
          await bob.say(roomId, 'I go')
          for (const user of [bob, ben]) await leave(user, roomId)
          lastWords = (await stage.away.room(roomId)).extremities
          await anna.join(roomId)
          await moderate(alice, roomId, 'ban', ben)
          await change(alice, roomId, { kick: 75 }, { [anna.userId]: 75 })
          await setState(anna, roomId, 'm.room.topic', { topic: 'without you' })
        },
        async () => {
          // It is told at once that home is away, for as long as its server leaves home alone.
          await soon('bob comes back', () => joinVia(bob, roomId, stage.home.name).catch(() => undefined))
          await sees(bob, roomId, anna, 'join')
        },
      )
      await sees(bob, roomId, ben, 'ban')
      await ben.join(roomId).then(
        () => same('a join of who is banned', true, false),
        () => undefined,
      )
      // They are no part of the room that bob came back to, and so alice's server alone names them in its next event.
      await soon('the leaves are heard of', async () => {
        const held = new Set((await stage.home.room(roomId)).events.map(({ event_id }) => event_id))
        return lastWords.every((eventId) => held.has(eventId))
      })
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'a cut, a message is redacted on one side and answered on the other',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const eventId = await bob.say(roomId, 'bad words')
      await soon('alice has it', async () => (await alice.get(roomPath(roomId, 'event', eventId))).status === 200)
      await stage.apart(roomId, async () => {
        await redact(alice, roomId, eventId)
        await bob.say(roomId, 'so?')
      })
      const gone = async () => (await bob.ok('GET', roomPath(roomId, 'event', eventId))).content.body === undefined
      await soon('bob sees it gone', gone)
    },
  },
  {
    name: 'a cut, and an invite to who is in the room by then',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const [anna, ben] = await Promise.all([stage.home.user(), stage.away.user()])
      await promote(stage, roomId, bob, 50)
      await stage.apart(roomId, async () => {
        await moderate(bob, roomId, 'invite', ben)
        await ben.join(roomId)
        await moderate(alice, roomId, 'invite', anna)
        await anna.join(roomId)
      })
      await sees(alice, roomId, ben, 'join')
      await sees(bob, roomId, anna, 'join')
    },
  },
  {
    name: 'a cut, both servers are restarted, and what waited is sent',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await stage.apart(roomId, async () => {
        await alice.say(roomId, 'waits at home')
        await bob.say(roomId, 'waits away')
        await setState(alice, roomId, 'm.room.topic', { topic: 'waits as well' })
        await Promise.all([stage.home.restart(), stage.away.restart()])
      })
      await reads(bob, roomId, 'waits at home')
      await reads(alice, roomId, 'waits away')
    },
  },
  {
    name: 'three cuts one after another',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      await promote(stage, roomId, bob, 50)
      for (let round = 0; round < 3; round++) {
        await stage.apart(roomId, async () => {
          await setState(alice, roomId, 'm.room.topic', { topic: `alice ${round}` })
          await setState(bob, roomId, 'm.room.name', { name: `bob ${round}` })
          await setState(bob, roomId, 'm.room.topic', { topic: `bob ${round}` })
          await alice.say(roomId, `round ${round}`)
        })
      }
    },
  },
  {
    name: 'a join while the other server is away is refused and works afterwards',
    async play(stage) {
      const { bob } = stage
      const roomId = await stage.room()
      await stage.home.link.cut()
      const { status } = await tryToJoin(bob, roomId, stage.home.name)
      same('a refusal', status >= 400, true)
      await stage.home.link.mend()
      await soon('bob joins', () => joinVia(bob, roomId, stage.home.name).catch(() => undefined))
      await sees(stage.alice, roomId, bob, 'join')
    },
  },
  ...roomVersionNames.flatMap(fights),
]
