/**
 * What the users of a simulated server try to do. Most of it makes sense in the state they see; a part does not, and is
 * refused. Each server has an anchor, a member at the top whom nobody here tries to remove or to lower: it is the one who
 * binds the ends together when all is quiet.
 */
import { own, ownString, isObject, type Json, type JsonObject } from '../../../src/protocol/json.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import type { Draft } from '../../../src/room/draft.js'
import type { Random } from './random.js'

export interface Scene {
  readonly rules: RoomVersionRules
  readonly random: Random
  readonly server: string
  /** The anchor first. */
  readonly users: readonly string[]
  /** Users of all servers without their anchors. */
  readonly everybody: readonly string[]
  /** Events that this server has, to be redacted. */
  readonly redactable: readonly string[]
  /** The content of the current state as this server sees it. */
  content(type: string, stateKey: string): Promise<JsonObject | undefined>
}

const weights = {
  message: 20,
  topic: 10,
  name: 4,
  state: 10,
  levels: 12,
  kick: 6,
  ban: 9,
  unban: 6,
  invite: 8,
  join: 18,
  leave: 5,
  knock: 2,
  joinRules: 6,
  redaction: 5,
  aliases: 2,
}

export async function randomDraft(scene: Scene): Promise<Draft> {
  const { random } = scene
  const sender = random.chance(0.4) ? scene.users[0]! : random.pick(scene.users)
  const kind = random.weighted(weights)
  return draftOf[kind](scene, sender)
}

type Maker = (scene: Scene, sender: string) => Draft | Promise<Draft>

const stateDraft = (sender: string, type: string, stateKey: string, content: JsonObject): Draft => ({
  type,
  stateKey,
  sender,
  content,
})

const memberDraft = (sender: string, target: string, membership: string, more: JsonObject = {}): Draft =>
  stateDraft(sender, 'm.room.member', target, { ...more, membership })

const ofTarget =
  (membership: string): Maker =>
  ({ random, everybody }, sender) =>
    memberDraft(sender, random.pick(everybody), membership, random.chance(0.3) ? { reason: word(random) } : {})

const draftOf: Record<keyof typeof weights, Maker> = {
  message: ({ random }, sender) => ({ type: 'm.room.message', sender, content: { body: word(random) } }),
  topic: ({ random }, sender) => stateDraft(sender, 'm.room.topic', '', { topic: word(random) }),
  name: ({ random }, sender) => stateDraft(sender, 'm.room.name', '', { name: word(random) }),
  state: ({ random }, sender) => {
    const stateKey = random.chance(0.2) ? sender : random.pick(['', 'a', 'b'])
    return stateDraft(sender, random.pick(['org.example.one', 'org.example.two']), stateKey, { value: word(random) })
  },
  levels: levelsDraft,
  kick: ofTarget('leave'),
  ban: ofTarget('ban'),
  unban: unbanDraft,
  invite: ofTarget('invite'),
  join: joinDraft,
  leave: ({ random, users }) => {
    const user = random.pick(users.slice(1))
    return memberDraft(user, user, 'leave')
  },
  knock: ({ random, users }) => {
    const user = random.pick(users.slice(1))
    return memberDraft(user, user, 'knock')
  },
  joinRules: ({ random, rules }, sender) => stateDraft(sender, 'm.room.join_rules', '', joinRule(random, rules)),
  redaction: ({ random, redactable, rules }, sender) => {
    if (redactable.length === 0) return { type: 'm.room.message', sender, content: { body: word(random) } }
    const redacts = random.pick(redactable)
    return { type: 'm.room.redaction', sender, content: rules.redactsInContent ? { redacts } : {}, redacts }
  },
  aliases: ({ random, server }, sender) =>
    stateDraft(sender, 'm.room.aliases', server, { aliases: [`#${word(random)}:${server}`] }),
}

const word = (random: Random): string => random.below(1_000_000).toString(36)

const levels = [0, 25, 50, 75, 100]

async function levelsDraft({ random, everybody, content }: Scene, sender: string): Promise<Draft> {
  const current = (await content('m.room.power_levels', '')) ?? {}
  return stateDraft(sender, 'm.room.power_levels', '', changedLevels(random, current, everybody))
}

function changedLevels(random: Random, current: JsonObject, everybody: readonly string[]): JsonObject {
  const level = random.pick(levels)
  if (random.chance(0.6)) return withEntry(current, 'users', random.pick(everybody), level)
  if (random.chance(0.4)) {
    return withEntry(current, 'events', random.pick(['m.room.topic', 'm.room.name', 'org.example.one']), level)
  }
  const key = random.pick(['ban', 'kick', 'invite', 'redact', 'users_default', 'state_default', 'events_default'])
  return { ...current, [key]: key.endsWith('_default') ? random.pick([0, 0, 25, 50]) : level }
}

function withEntry(content: JsonObject, key: string, entry: string, level: Json): JsonObject {
  const entries = own(content, key)
  return { ...content, [key]: { ...(isObject(entries) ? entries : {}), [entry]: level } }
}

/** Somebody who is banned, if this server knows one. */
async function unbanDraft({ random, everybody, content }: Scene, sender: string): Promise<Draft> {
  for (const target of random.shuffled(everybody)) {
    if (ownString((await content('m.room.member', target)) ?? {}, 'membership') === 'ban') {
      return memberDraft(sender, target, 'leave', { reason: word(random) })
    }
  }
  return memberDraft(sender, random.pick(everybody), 'leave')
}

/** Local users join; where the room is restricted, on the word of a local member. */
async function joinDraft({ random, users, rules, content }: Scene): Promise<Draft> {
  const user = random.pick(users.slice(1))
  const joinRule = ownString((await content('m.room.join_rules', '')) ?? {}, 'join_rule')
  const isRestricted = rules.restrictedJoins && joinRule?.endsWith('restricted') === true
  const authorised = isRestricted && random.chance(0.8) ? { join_authorised_via_users_server: random.pick(users) } : {}
  return memberDraft(user, user, 'join', { ...authorised, displayname: word(random) })
}

function joinRule(random: Random, rules: RoomVersionRules): JsonObject {
  const choices = ['public', 'public', 'invite']
  if (rules.knocking) choices.push('knock')
  if (rules.restrictedJoins) choices.push('restricted', 'restricted')
  if (rules.knockRestrictedJoins) choices.push('knock_restricted')
  const chosen = random.pick(choices)
  const allow = [{ type: 'm.room_membership', room_id: '!elsewhere:one.example' }]
  return chosen.endsWith('restricted') ? { join_rule: chosen, allow } : { join_rule: chosen }
}
