/** What users do by chance, but the same for the same seed, on both sides at once: refusals are part of it. */
import { roomVersionNames, rulesOf, type RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { Random } from '../../../test/support/simulator/random.js'
import type { TestUser } from '../../../test/support/test-user.js'
import { act, knock, leave, redact, sees, setState, state, stateContent, tryToJoin } from '../actions.js'
import type { Scenario, Stage } from '../scenario.js'

const ROUNDS = 3
/** Of each side, in each round: while they are apart, and while they meet again. */
const APART = 14
const MEETING = 6

interface Cast {
  readonly roomId: string
  /** Where who is in may come in, if the rule is so. */
  readonly lobby: string
  readonly joinRules: readonly string[]
  /** Who acts on one side, in the room or not. */
  readonly actors: readonly TestUser[]
  /** Whom it is done to. */
  readonly targets: readonly TestUser[]
}

type Action = (user: TestUser, cast: Cast, random: Random) => Promise<unknown>

const actions: Record<string, Action> = {
  topic: (user, { roomId }, random) =>
    setState(user, roomId, random.pick(['m.room.topic', 'm.room.name']), { by: user.userId }),
  thing: (user, { roomId }, random) =>
    setState(user, roomId, 'org.example.thing', { n: random.pick([1, 2, 3]) }, random.pick(['a', 'b', 'c'])),
  joinRule: (user, { roomId, lobby, joinRules }, random) => {
    const join_rule = random.pick(joinRules)
    const allow = join_rule.endsWith('restricted') ? { allow: [{ type: 'm.room_membership', room_id: lobby }] } : {}
    return setState(user, roomId, 'm.room.join_rules', { join_rule, ...allow })
  },
  words: (user, { roomId }) => user.say(roomId, 'words'),
  moderate: (user, { roomId, targets }, random) =>
    act(user, roomId, random.pick(['ban', 'ban', 'kick', 'unban', 'invite']), { user_id: random.pick(targets).userId }),
  comeOrGo: (user, { roomId, targets }, random) => {
    if (!targets.includes(user)) return user.say(roomId, 'I stay')
    return [tryToJoin, tryToJoin, leave, knock][random.below(4)]!(user, roomId)
  },
  name: (user, { roomId }, random) =>
    setState(user, roomId, 'm.room.member', { membership: 'join', displayname: random.pick(['A', 'B']) }, user.userId),
  levels: async (user, { roomId, targets }, random) => {
    const levels = await stateContent(user, roomId, 'm.room.power_levels')
    const users = { ...levels.users, [random.pick(targets).userId]: random.pick([0, 25, 50, 75]) }
    const more = { [random.pick(['ban', 'kick', 'redact', 'state_default', 'invite'])]: random.pick([0, 25, 50, 75]) }
    return setState(user, roomId, 'm.room.power_levels', { ...levels, ...more, users })
  },
  redaction: async (user, { roomId }, random) => {
    const all = (await state(user, roomId)).filter(({ type }) => type !== 'm.room.create')
    return redact(user, roomId, random.pick(all).event_id)
  },
}

const weights = {
  topic: 3,
  thing: 2,
  joinRule: 4,
  words: 2,
  moderate: 6,
  comeOrGo: 5,
  name: 1,
  levels: 5,
  redaction: 2,
}

async function play(count: number, cast: Cast, random: Random): Promise<void> {
  for (let i = 0; i < count; i++) {
    // What the rules do not allow is refused, and the next one is tried.
    await actions[random.weighted(weights)]!(random.pick(cast.actors), cast, random).catch(() => undefined)
  }
}

async function rounds(stage: Stage, version: string, seed: number): Promise<void> {
  const { alice, bob, home, away } = stage
  const lobby = await alice.createRoom()
  const roomId = await stage.shared({ preset: 'public_chat', room_version: version })
  const [anna, adam, ben, beth] = await Promise.all([home.user(), home.user(), away.user(), away.user()])
  for (const user of [anna, adam]) for (const room of [lobby, roomId]) await user.join(room)
  for (const user of [ben, beth]) await stage.letIn(user, roomId)
  for (const user of [bob, ben]) await tryToJoin(user, lobby, home.name)
  for (const user of [anna, adam]) await sees(bob, roomId, user, 'join')
  const levels = await stateContent(alice, roomId, 'm.room.power_levels')
  const users = { ...levels.users, [bob.userId]: 90, [anna.userId]: 75, [ben.userId]: 75 }
  await setState(alice, roomId, 'm.room.power_levels', { ...levels, users })
  await stage.meetAgain(roomId)
  const cast = { roomId, lobby, joinRules: joinRulesOf(rulesOf(version)!), targets: [anna, adam, ben, beth] }
  const sides = [
    { ...cast, actors: [alice, anna, adam] },
    { ...cast, actors: [bob, ben, beth] },
  ]
  for (let round = 0; round < ROUNDS; round++) {
    const randoms = sides.map((_, side) => new Random(seed * 100 + round * 10 + side))
    const both = (count: number) => Promise.all(sides.map((side, i) => play(count, side, randoms[i]!)))
    await stage.apart(
      roomId,
      async () => {
        await both(APART)
        if (randoms[0]!.chance(0.15)) await randoms[0]!.pick([home, away]).restart()
      },
      () => both(MEETING).then(() => undefined),
    )
  }
}

export const joinRulesOf = ({ knocking, restrictedJoins, knockRestrictedJoins }: RoomVersionRules): string[] => [
  ...['public', 'public', 'invite'],
  ...(knocking ? ['knock'] : []),
  ...(restrictedJoins ? ['restricted'] : []),
  ...(knockRestrictedJoins ? ['knock_restricted'] : []),
]

export interface Seeds {
  readonly seed: string
  readonly seeds: string
}

export const byChance = ({ seed, seeds }: Seeds): Scenario[] =>
  roomVersionNames.flatMap((version) =>
    Array.from({ length: Number(seeds) }, (_, i) => ({
      name: `version ${version}: chance, seed ${Number(seed) + i}`,
      play: (stage: Stage) => rounds(stage, version, Number(seed) + i),
    })),
  )
