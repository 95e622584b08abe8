/** What users do during a cut, by chance, but the same for the same seed: refusals are part of it. */
import { roomVersionNames } from '../../../src/protocol/room-versions.js'
import { Random } from '../../../test/support/simulator/random.js'
import type { TestUser } from '../../../test/support/test-user.js'
import { act, sees, setState, stateContent, tryToJoin } from '../actions.js'
import type { Scenario, Stage } from '../scenario.js'

/** Of each side, in each of two cuts. */
const ACTIONS = 14

interface Cast {
  readonly roomId: string
  /** Who acts on one side, in the room or not. */
  readonly actors: readonly TestUser[]
  /** Whom it is done to. */
  readonly targets: readonly TestUser[]
}

const actions: readonly ((user: TestUser, cast: Cast, random: Random) => Promise<unknown>)[] = [
  (user, { roomId }, random) =>
    setState(user, roomId, random.pick(['m.room.topic', 'm.room.name']), { by: user.userId }),
  (user, { roomId }, random) =>
    setState(user, roomId, 'm.room.join_rules', { join_rule: random.pick(['public', 'public', 'invite']) }),
  (user, { roomId }, random) =>
    setState(user, roomId, 'org.example.thing', { n: random.pick([1, 2, 3]) }, random.pick(['a', 'b', 'c'])),
  (user, { roomId }) => user.say(roomId, 'words'),
  (user, { roomId, targets }, random) =>
    act(user, roomId, random.pick(['ban', 'kick', 'unban', 'invite']), { user_id: random.pick(targets).userId }),
  (user, { roomId }, random) => (random.chance(0.5) ? tryToJoin(user, roomId) : user.say(roomId, 'more words')),
  async (user, { roomId, targets }, random) => {
    const levels = await stateContent(user, roomId, 'm.room.power_levels')
    const users = { ...levels.users, [random.pick(targets).userId]: random.pick([0, 25, 50, 75]) }
    const more = { [random.pick(['ban', 'kick', 'redact', 'state_default'])]: random.pick([25, 50, 75]) }
    return setState(user, roomId, 'm.room.power_levels', { ...levels, ...more, users })
  },
]

async function play(cast: Cast, random: Random): Promise<void> {
  for (let i = 0; i < ACTIONS; i++) {
    // What the rules do not allow is refused, and the next one is tried.
    await random
      .pick(actions)(random.pick(cast.actors), cast, random)
      .catch(() => undefined)
  }
}

async function twoCuts(stage: Stage, version: string, seed: number): Promise<void> {
  const { alice, bob, home, away } = stage
  const roomId = await stage.shared({ preset: 'public_chat', room_version: version })
  const [anna, adam, ben, beth] = await Promise.all([home.user(), home.user(), away.user(), away.user()])
  for (const user of [anna, adam]) await user.join(roomId)
  for (const user of [ben, beth]) await stage.letIn(user, roomId)
  for (const user of [anna, adam]) await sees(bob, roomId, user, 'join')
  const levels = await stateContent(alice, roomId, 'm.room.power_levels')
  const users = { ...levels.users, [bob.userId]: 90, [anna.userId]: 75, [ben.userId]: 75 }
  await setState(alice, roomId, 'm.room.power_levels', { ...levels, users })
  await stage.meetAgain(roomId)
  const targets = [anna, adam, ben, beth]
  for (let cut = 0; cut < 2; cut++) {
    await stage.apart(roomId, async () => {
      await play({ roomId, targets, actors: [alice, anna, adam] }, new Random(seed * 10 + cut))
      await play({ roomId, targets, actors: [bob, ben, beth] }, new Random(seed * 10 + cut + 5))
    })
  }
}

const byChance = (version: string, seed: number): Scenario => ({
  name: `version ${version}: two cuts, and both sides do what chance tells them, seed ${seed}`,
  play: (stage) => twoCuts(stage, version, seed),
})

export const chance: readonly Scenario[] = roomVersionNames.flatMap((version) => [
  byChance(version, Number(version)),
  byChance(version, 100 + Number(version)),
])
