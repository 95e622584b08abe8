/**
 * Synapse's own authorisation and state resolution over rooms made by chance, without servers: thousands of merges in the
 * time of one scenario. `resolutions.py` is told each event with what the naive resolver makes of it, and says what
 * Synapse makes of it otherwise.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { JsonObject } from '../../src/protocol/json.js'
import { roomVersionNames, type RoomVersionRules } from '../../src/protocol/room-versions.js'
import {
  alice,
  bob,
  type Branch,
  carol,
  dave,
  erin,
  labRoom,
  type LabDraft,
} from '../../test/support/laboratory/index.js'
import { Random } from '../../test/support/simulator/random.js'
import { joinRulesOf } from './scenarios/chance.js'

const users = [alice, bob, carol, dave, erin]
const EVENTS = 45

/** So many rooms of each version. What is printed is Synapse's word on each room that it sees otherwise. */
export async function compareResolutions(python: string, seed: number, count: number): Promise<boolean> {
  const script = fileURLToPath(new URL('resolutions.py', import.meta.url))
  const child = spawn(python, [script], { stdio: ['pipe', 'inherit', 'inherit'] })
  const ended = once(child, 'close')
  for (let i = seed; i < seed + count; i++) {
    for (const version of roomVersionNames) {
      const told = roomByChance(version, i).events.map(({ eventId, text, verdict, stateAfter }) => ({
        event_id: eventId,
        pdu: text,
        rejected: verdict.allowed ? null : verdict.reason,
        after: [...stateAfter.values()].sort(),
      }))
      if (child.stdin.write(`${JSON.stringify({ version, seed: i, events: told })}\n`)) continue
      await Promise.race([once(child.stdin, 'drain'), ended])
    }
  }
  child.stdin.end()
  const [code] = (await ended) as [number]
  return code === 0
}

/** Branches that are merged now and then; events that are refused are part of it, and some stand on them. */
function roomByChance(version: string, seed: number): Branch {
  const random = new Random(seed * 1_000 + Number(version))
  const levels = { users: { [bob]: random.pick([50, 100]), [carol]: 50 } }
  const room = labRoom({ version, name: `resolutions${seed}`, members: [bob, carol, dave], levels })
  const branches = room.fork(2 + random.below(2))
  for (let i = 0; i < EVENTS; i++) {
    const branch = random.pick(branches)
    const sender = random.pick(users)
    const made = branch.attempt(sender, draftOf(random, branch, sender))
    if (made.verdict.allowed || random.chance(0.05)) branch.tips = [made]
    if (random.chance(0.2)) branch.merge(branch, random.pick(branches))
  }
  room.merge(...branches)
  room.attempt(alice, { type: 'm.room.message', content: { body: 'the end' } })
  return room
}

const weights = { topic: 3, thing: 1, words: 1, joinRule: 4, moderate: 6, comeOrGo: 5, levels: 5, name: 2 }

function draftOf(random: Random, branch: Branch, sender: string): LabDraft {
  const { rules } = branch
  const target = random.pick(users)
  const n = random.below(1_000_000)
  const pdu = { origin_server_ts: 1_700_000_000_000 + random.below(40) * 1_000 }
  const state = (type: string, stateKey: string, content: JsonObject): LabDraft => ({ type, stateKey, content, pdu })
  switch (random.weighted(weights)) {
    case 'topic':
      return state('m.room.topic', '', { n })
    case 'thing':
      return state('org.example.thing', random.pick(['a', 'b', sender]), { n })
    case 'words':
      return { type: 'm.room.message', content: { n }, pdu }
    case 'joinRule':
      return state('m.room.join_rules', '', { join_rule: random.pick(joinRulesOf(rules)), allow: [], n })
    case 'moderate':
      return state('m.room.member', target, { membership: random.pick(['ban', 'ban', 'leave', 'invite']) })
    case 'comeOrGo':
      return state('m.room.member', sender, comingOrGoing(random, rules))
    case 'levels':
      return state('m.room.power_levels', '', levelsBy(random, branch, target))
    case 'name':
      return state('m.room.member', sender, { membership: 'join', displayname: `${n}` })
  }
}

function comingOrGoing(random: Random, rules: RoomVersionRules): JsonObject {
  const membership = random.pick(['join', 'join', 'leave', ...(rules.knocking ? ['knock'] : [])])
  if (membership !== 'join' || !rules.restrictedJoins || random.chance(0.7)) return { membership }
  return { membership, join_authorised_via_users_server: random.pick([alice, bob, carol]) }
}

function levelsBy(random: Random, branch: Branch, target: string): JsonObject {
  const before = branch.stateEvent('m.room.power_levels')?.event.content ?? {}
  const users = { ...(before['users'] as JsonObject | undefined), [target]: random.pick([0, 25, 50, 75, 100]) }
  const key = random.pick(['ban', 'kick', 'redact', 'state_default', 'invite', 'users_default'])
  return branch.levelsWith({ ...before, [key]: random.pick([0, 25, 50]), users })
}
