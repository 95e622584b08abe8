/**
 * Rooms by chance: a few users of three servers who fight over levels, ban, kick, join, set topics and change the join
 * rules on up to six branches, which fork, are merged in twos to fives, and now and then are told to be in an older state
 * than they are (what a peer may say of events nobody has).
 */
import fc from 'fast-check'
import type { JsonObject } from '../../../src/protocol/json.js'
import { keyOf, type NaiveState } from './naive.js'
import { PlainRoom, type PlainDraft } from './plain-room.js'

export const users = [
  '@alice:one.example',
  '@bob:one.example',
  '@carol:two.example',
  '@dave:two.example',
  '@erin:three.example',
] as const

const actions = [
  'levels',
  'levels',
  'levels',
  'joinRules',
  'ban',
  'kick',
  'invite',
  'join',
  'join',
  'leave',
  'topic',
  'name',
] as const
type Action = (typeof actions)[number]

interface Step {
  readonly kind: 'act' | 'fork' | 'merge' | 'told'
  readonly branch: number
  readonly action: Action
  readonly sender: number
  readonly target: number
  readonly value: number
  /** Few values: ties. */
  readonly ts: number
  readonly depth: number
  /** Makes the order of the ids another than that of the events. */
  readonly salt: number
  readonly rejected: boolean
}

const nat = (max: number) => fc.integer({ min: 0, max })

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 14, arbitrary: fc.constant('act' as const) },
    { weight: 2, arbitrary: fc.constant('fork' as const) },
    { weight: 2, arbitrary: fc.constant('merge' as const) },
    { weight: 1, arbitrary: fc.constant('told' as const) },
  ),
  branch: nat(1_000),
  action: fc.constantFrom(...actions),
  sender: fc.oneof(nat(1), nat(users.length - 1)),
  target: nat(users.length - 1),
  value: nat(1_000),
  ts: nat(6),
  depth: nat(6),
  salt: nat(999),
  rejected: nat(39).map((one) => one === 39),
})

export interface Script {
  readonly start: { readonly withLevels: boolean; readonly withJoinRules: boolean; readonly members: number }
  readonly steps: readonly Step[]
  readonly last: number
}

export const script: fc.Arbitrary<Script> = fc.record({
  start: fc.record({
    withLevels: nat(9).map((one) => one > 0),
    withJoinRules: nat(9).map((one) => one > 0),
    members: nat(users.length),
  }),
  steps: fc.array(step, { minLength: 5, maxLength: 45 }),
  last: nat(3),
})

/** Plays a script; `onMerge` says what the state after a merge is, and the last states are merged at the end. */
export function play(
  version: string,
  { start, steps, last }: Script,
  onMerge: (room: PlainRoom, states: readonly NaiveState[]) => NaiveState,
): void {
  const player = new Player(version, onMerge)
  player.start(start)
  for (const one of steps) player.take(one)
  player.mergeFrom(0, last + 2)
}

class Player {
  private readonly room: PlainRoom
  private branches: NaiveState[] = [new Map()]

  constructor(
    version: string,
    private readonly onMerge: (room: PlainRoom, states: readonly NaiveState[]) => NaiveState,
  ) {
    this.room = new PlainRoom(version)
  }

  start({ withLevels, withJoinRules, members }: Script['start']): void {
    const [alice] = users
    const { rules, version } = this.room
    const creator = rules.creatorInCreateContent ? { creator: alice } : {}
    this.apply(0, { type: 'm.room.create', sender: alice, content: { room_version: version, ...creator }, id: '$0' })
    this.apply(0, member(alice, alice, 'join'))
    const users0 = rules.privilegedCreators ? { [users[1]]: 100 } : { [alice]: 100, [users[1]]: 100 }
    if (withLevels) this.apply(0, { type: 'm.room.power_levels', sender: alice, content: { users: users0 } })
    const content = { join_rule: 'public' }
    if (withJoinRules) this.apply(0, { type: 'm.room.join_rules', sender: alice, content })
    for (const user of users.slice(1, members)) this.apply(0, member(user, user, 'join'))
    this.branches.push(this.branches[0]!)
  }

  take(step: Step): void {
    const at = step.branch % this.branches.length
    if (step.kind === 'act') this.apply(at, this.draftOf(at, step))
    else if (step.kind === 'merge') this.mergeFrom(at, 2 + (step.value % 4))
    else if (step.kind === 'told') this.tell(at, step)
    else if (this.branches.length < 6) this.branches.push(this.branches[at]!)
  }

  /** What the rules refuse does not happen. */
  private apply(at: number, draft: PlainDraft): void {
    const state = this.branches[at]!
    const made = this.room.draft(state, draft)
    if (this.room.ids.includes(made.event.eventId) || !this.room.isAllowed(made, state)) return
    this.branches[at] = new Map(state).set(keyOf(draft.type, draft.stateKey ?? ''), this.room.add(made))
  }

  mergeFrom(at: number, count: number): void {
    const chosen = this.branches.slice(at, at + count)
    if (chosen.length < 2) return
    const others = this.branches.filter((branch) => !chosen.includes(branch))
    this.branches = [...others, this.onMerge(this.room, chosen), chosen[0]!]
  }

  /** The branch goes on in a state with an older event of some key, or without it. */
  private tell(at: number, { value }: Step): void {
    const { ids, get } = this.room
    const { event } = get(ids[value % ids.length]!)
    const state = new Map(this.branches[at]).set(keyOf(event.type, event.stateKey!), event.eventId)
    if (value % 7 === 0) state.delete(keyOf(event.type, event.stateKey!))
    this.branches[at] = state
  }

  private draftOf(at: number, step: Step): PlainDraft {
    const sender = users[step.sender]!
    const { ts, depth, rejected } = step
    const id = `$${step.salt}-${this.room.ids.length}`
    return { ...this.contentOf(at, step, sender), sender, id, ts, depth, rejected }
  }

  private contentOf(at: number, { action, target, value }: Step, sender: string): PlainDraft {
    const other = users[target]!
    switch (action) {
      case 'levels':
        return { type: 'm.room.power_levels', sender, content: this.changedLevels(at, other, value) }
      case 'joinRules':
        return { type: 'm.room.join_rules', sender, content: this.joinRules(value) }
      case 'topic':
        return { type: 'm.room.topic', sender, content: { topic: String(value) } }
      case 'name':
        return { type: 'm.room.name', sender, content: { name: String(value) } }
      case 'join':
        return member(sender, sender, 'join', value % 3 === 0 ? { join_authorised_via_users_server: other } : {})
      case 'leave':
        return member(sender, sender, 'leave')
      default:
        return member(sender, other, action === 'kick' ? 'leave' : action)
    }
  }

  private joinRules(value: number): JsonObject {
    const rule = (['public', 'public', 'invite', 'knock', 'restricted'] as const)[value % 5]!
    return { join_rule: rule, ...(rule === 'restricted' ? { allow: [] } : {}) }
  }

  private changedLevels(at: number, user: string, value: number): JsonObject {
    const id = this.branches[at]!.get(keyOf('m.room.power_levels', ''))
    const content = id === undefined ? {} : this.room.get(id).event.content
    const level = [0, 25, 50, 75, 100][value % 5]!
    if (value % 4 === 0) return { ...content, state_default: level }
    if (value % 11 === 0) return { ...content, ban: level, kick: level }
    return { ...content, users: { ...(content['users'] as JsonObject | undefined), [user]: level } }
  }
}

const member = (sender: string, stateKey: string, membership: string, content: JsonObject = {}): PlainDraft => ({
  type: 'm.room.member',
  sender,
  stateKey,
  content: { ...content, membership },
})
