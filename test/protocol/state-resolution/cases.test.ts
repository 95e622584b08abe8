import { describe, expect, it } from '@jest/globals'
import { ExactNumber, type JsonObject } from '../../../src/protocol/json.js'
import { keyOf, type Enlarging, type NaiveState } from './naive.js'
import { PlainRoom, type PlainDraft } from './plain-room.js'

const alice = '@alice:one.example'
const bob = '@bob:one.example'
const carol = '@carol:two.example'
const dave = '@dave:three.example'

const POWER = 'm.room.power_levels'
const RULES = 'm.room.join_rules'
const MEMBER = 'm.room.member'

const member = (sender: string, stateKey: string, membership: string): PlainDraft => ({
  type: MEMBER,
  sender,
  stateKey,
  content: { membership },
})
const join = (user: string, displayname?: string): PlainDraft => ({
  ...member(user, user, 'join'),
  content: { membership: 'join', ...(displayname === undefined ? {} : { displayname }) },
})
const ban = (sender: string, target: string) => member(sender, target, 'ban')
const kick = (sender: string, target: string) => member(sender, target, 'leave')
const levels = (sender: string, content: JsonObject): PlainDraft => ({ type: POWER, sender, content })
const rules = (sender: string, join_rule: string): PlainDraft => ({ type: RULES, sender, content: { join_rule } })
const topic = (sender: string, text: string): PlainDraft => ({
  type: 'm.room.topic',
  sender,
  content: { topic: text },
})

/** A room with its create event, Alice in it with 100 (or above all), Bob with 50 and Carol with 0 in it, and open to all. */
class Room extends PlainRoom {
  start: NaiveState = new Map()

  constructor(version: string, content: JsonObject | null = {}) {
    super(version)
    const creator = this.rules.creatorInCreateContent ? { creator: alice } : {}
    this.begin({ type: 'm.room.create', sender: alice, content: { room_version: version, ...creator } })
    this.begin(join(alice))
    if (content !== null) this.begin(levels(alice, this.levelsWith(content)))
    this.begin(rules(alice, 'public'))
    this.begin(join(bob))
    this.begin(join(carol))
  }

  private begin(draft: PlainDraft): void {
    this.start = this.after(this.start, draft)
  }

  levelsWith(content: JsonObject): JsonObject {
    const users = (content['users'] ?? { [bob]: 50 }) as JsonObject
    return { ...content, users: this.rules.privilegedCreators ? users : { [alice]: 100, ...users } }
  }

  /** The state after these events, each of which has to be allowed. */
  after(state: NaiveState, ...drafts: readonly PlainDraft[]): NaiveState {
    return drafts.reduce((before, draft) => {
      if (!this.isAllowed(this.draft(before, draft), before)) throw new Error(`refused: ${JSON.stringify(draft)}`)
      return this.with(before, draft)
    }, state)
  }

  branch(...drafts: readonly PlainDraft[]): NaiveState {
    return this.after(this.start, ...drafts)
  }

  /** The resolved state; both resolvers have to agree on it, in either order. */
  merged(...states: readonly NaiveState[]): NaiveState {
    const resolved = this.resolve(states)
    for (const other of [this.naively(states), this.resolve([...states].reverse())]) {
      expect(new Map([...resolved].sort())).toEqual(new Map([...other].sort()))
    }
    return resolved
  }

  content(state: NaiveState, type: string, stateKey = ''): JsonObject | undefined {
    const id = state.get(keyOf(type, stateKey))
    return id === undefined ? undefined : this.get(id).event.content
  }
}

const told = (state: NaiveState, from: NaiveState, type: string, stateKey = ''): NaiveState =>
  new Map(state).set(keyOf(type, stateKey), from.get(keyOf(type, stateKey))!)

const since2 = ['2', '6', '11', '12'] as const

describe.each(since2)('resolving states of a room of version %s', (version) => {
  it('keeps a ban against a join that did not know of it', () => {
    const room = new Room(version)
    const left = room.branch(ban(alice, carol))
    const right = room.branch(member(carol, carol, 'leave'), join(carol, 'back again'))
    expect(room.content(room.merged(left, right), MEMBER, carol)).toEqual({ membership: 'ban' })
  })

  it('undoes what a moderator did to the levels while they were being banned', () => {
    const room = new Room(version, { events: { [POWER]: 50 } })
    const left = room.branch({ ...ban(alice, bob), ts: 9_000 })
    const content = room.levelsWith({ events: { [POWER]: 50 }, users: { [bob]: 50, [carol]: 50 } })
    const right = room.branch({ ...levels(bob, content), ts: 1 })
    const resolved = room.merged(left, right)
    expect(room.content(resolved, MEMBER, bob)).toEqual({ membership: 'ban' })
    expect(resolved.get(keyOf(POWER, ''))).toBe(room.start.get(keyOf(POWER, '')))
  })

  it('drops the topic of who was demoted, however early its timestamp', () => {
    const room = new Room(version)
    const left = room.branch(levels(alice, room.levelsWith({ users: {} })))
    const right = room.branch({ ...topic(bob, 'evil'), ts: 0 })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toBeUndefined()
  })

  it('takes the later of two topics that stand on the same levels', () => {
    const room = new Room(version)
    const [one, other] = [
      { ...topic(alice, 'first'), ts: 5 },
      { ...topic(bob, 'second'), ts: 6 },
    ]
    const resolved = room.merged(room.branch(one), room.branch(other))
    expect(room.content(resolved, 'm.room.topic')).toEqual({ topic: 'second' })
  })

  it('takes the topic that stands on newer levels, whatever the timestamps', () => {
    const room = new Room(version)
    const left = room.branch(levels(alice, room.levelsWith({ ban: 60 })), { ...topic(bob, 'new levels'), ts: 1 })
    const right = room.branch({ ...topic(bob, 'old levels'), ts: 9_000 })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toEqual({ topic: 'new levels' })
  })

  it('takes the greater event id of two topics of the same moment', () => {
    const room = new Room(version)
    const left = room.branch({ ...topic(bob, 'a'), ts: 7, id: '$aa' })
    const right = room.branch({ ...topic(bob, 'B'), ts: 7, id: '$BB' })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toEqual({ topic: 'a' })
  })

  it('lets the greater power go first in a fight, so that the lesser stands only on what it left', () => {
    const room = new Room(version, { events: { [POWER]: 50 }, users: { [bob]: 50, [carol]: 50 } })
    const without = (user: string) => {
      const users = Object.fromEntries([bob, carol].filter((one) => one !== user).map((one) => [one, 50]))
      return room.levelsWith({ events: { [POWER]: 50 }, users })
    }
    const left = room.branch({ ...levels(alice, without(bob)), ts: 9_000 })
    const right = room.branch({ ...levels(bob, { ...without(dave), ban: 40 }), ts: 1 })
    expect(room.content(room.merged(left, right), POWER)).toEqual(without(bob))
  })

  it('comes to something where there are no levels yet: the creator has power, nobody else', () => {
    const room = new Room(version, null)
    const left = room.branch(kick(alice, carol), { ...topic(alice, 'true'), ts: 1 })
    const right = room.after(told(room.start, room.start, MEMBER, carol), join(dave))
    const resolved = room.merged(left, right)
    expect(room.content(resolved, MEMBER, carol)).toEqual({ membership: 'leave' })
    expect(room.content(resolved, 'm.room.topic')).toEqual({ topic: 'true' })
    expect(room.content(resolved, MEMBER, dave)).toEqual({ membership: 'join' })
  })

  /** In a closed room Dave sets the topic. His join is an auth event of it, in no state, and does not pass any more. */
  const topicOfDave = (rejected: boolean) => {
    const room = new Room(version, { state_default: 0 })
    const closed = room.branch(rules(alice, 'invite'))
    const dropped = room.draft(closed, { ...join(dave), rejected })
    room.add(dropped)
    const selected = room.draft(closed, topic(dave, 'mine')).event.authEvents
    const authEvents = [...selected, dropped.event.eventId]
    const resolved = room.merged(room.with(closed, { ...topic(dave, 'mine'), authEvents }), closed)
    expect(room.content(resolved, MEMBER, dave)).toBeUndefined()
    return room.content(resolved, 'm.room.topic')
  }

  it('takes an auth event for what the state lacks', () => {
    expect(topicOfDave(false)).toEqual({ topic: 'mine' })
  })

  it('does not take a rejected auth event for what the state lacks', () => {
    expect(topicOfDave(true)).toBeUndefined()
  })

  it('admits an event that was rejected where it was made, if it passes here', () => {
    const room = new Room(version)
    const left = room.branch({ ...ban(alice, carol), rejected: true })
    expect(room.content(room.merged(left, room.start), MEMBER, carol)).toEqual({ membership: 'ban' })
  })

  it('resolves when a state lacks the create event', () => {
    const room = new Room(version)
    const lacking = new Map(room.branch(topic(bob, 'here')))
    lacking.delete(keyOf('m.room.create', ''))
    const resolved = room.merged(room.branch(ban(alice, carol)), lacking)
    expect(room.content(resolved, MEMBER, carol)).toEqual({ membership: 'ban' })
    expect(room.content(resolved, 'm.room.topic')).toEqual({ topic: 'here' })
    expect(resolved.get(keyOf('m.room.create', ''))).toBe(room.start.get(keyOf('m.room.create', '')))
  })

  it('resolves when no state has the create event', () => {
    const room = new Room(version)
    const lacking = (state: NaiveState) => new Map([...state].filter(([key]) => key !== keyOf('m.room.create', '')))
    const resolved = room.merged(lacking(room.branch(ban(alice, carol))), lacking(room.branch(topic(bob, 'here'))))
    expect(room.content(resolved, MEMBER, carol)).toEqual({ membership: 'ban' })
    expect(room.content(resolved, 'm.room.topic')).toEqual({ topic: 'here' })
    expect(resolved.has(keyOf('m.room.create', ''))).toBe(false)
  })

  it('knows the level of a sender where a state lacks the create event', () => {
    const room = new Room(version, { events: { [POWER]: 50 } })
    const lacking = new Map(
      room.branch({ ...levels(bob, room.levelsWith({ events: { [POWER]: 50 }, ban: 40 })), ts: 1 }),
    )
    lacking.delete(keyOf('m.room.create', ''))
    const left = room.branch({ ...levels(alice, room.levelsWith({ users: {} })), ts: 9_000 })
    expect(room.content(room.merged(left, lacking), POWER)).toEqual(room.levelsWith({ users: {} }))
  })
})

describe('the order of event ids and timestamps', () => {
  it('is that of code points for ids of version 2, as on servers that compare bytes', () => {
    const room = new Room('2')
    const left = room.branch({ ...topic(bob, 'U+FF61'), ts: 7, id: '$\uff61:one.example' })
    const right = room.branch({ ...topic(bob, 'U+1F600'), ts: 7, id: '$\u{1f600}:one.example' })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toEqual({ topic: 'U+1F600' })
  })

  it('sees timestamps beyond 2^53 as they were written', () => {
    const room = new Room('5')
    const at = (text: string, id: string, digits: string) => {
      const made = room.draft(room.start, { ...topic(bob, text), id, ts: Number.MAX_SAFE_INTEGER })
      const event = { ...made.event, pdu: { origin_server_ts: new ExactNumber(digits) } }
      return new Map(room.start).set(keyOf('m.room.topic', ''), room.add({ ...made, event }))
    }
    const states = [at('later', '$a', '9007199254740995'), at('earlier', '$b', '9007199254740994')]
    expect(room.content(room.resolve(states), 'm.room.topic')).toEqual({ topic: 'later' })
  })
})

describe('the resets that MSC4297 tells of', () => {
  /** The join rules were closed by who has left since, and a peer tells that they are still the old ones. */
  const problemA = (version: string) => {
    const room = new Room(version, { users: { [bob]: 100 } })
    const closed = room.branch(rules(alice, 'invite'), member(alice, alice, 'leave'))
    const left = room.after(closed, join(bob, 'Bob'))
    const authEvents = [...room.draft(closed, join(carol)).event.authEvents]
    const right = room.with(told(closed, room.start, RULES), { ...join(carol, 'C'), authEvents })
    return room.content(room.merged(left, right), RULES)
  }

  it('problem A: version 11 loses the join rules altogether', () => {
    expect(problemA('11')).toBeUndefined()
  })

  it('problem A: version 12 has the newer ones', () => {
    expect(problemA('12')).toEqual({ join_rule: 'invite' })
  })

  /** Alice raises Bob, Bob raises Carol, and a peer tells the levels from before. */
  const problemB = (version: string) => {
    const room = new Room(version, { events: { [POWER]: 50 }, users: {} })
    const raised = (users: JsonObject) => room.levelsWith({ events: { [POWER]: 50 }, users })
    const between = room.branch(levels(alice, raised({ [bob]: 50 })))
    const last = room.after(between, levels(bob, raised({ [bob]: 50, [carol]: 50 })))
    const left = room.after(told(room.after(last, join(bob, 'B')), room.start, POWER), join(bob, 'Bob'))
    const right = room.after(last, join(carol, 'C'))
    return { resolved: room.content(room.merged(left, right), POWER), last: room.content(last, POWER) }
  }

  it('problem B: version 11 falls back to the first levels', () => {
    const { resolved } = problemB('11')
    expect(resolved?.['users']).toEqual({ [alice]: 100 })
  })

  it('problem B: version 12 replays what lies between and has the last levels', () => {
    const { resolved, last } = problemB('12')
    expect(resolved).toEqual(last)
  })
})

describe('what is reached from a power event through events outside the full conflicted set', () => {
  /**
   * Bob's later profile is under the levels Bob made, and these under the ban of Carol; a state in which the earlier profile
   * is back is told. The levels are in both states, and are not of the full conflicted set unless by the subgraph.
   */
  const nameOfBob = (version: string, enlarging: Enlarging) => {
    const room = new Room(version, { events: { [POWER]: 50 } })
    const named = (name: string, ts: number) => room.branch({ ...join(bob, name), ts })
    const [earlier, later] = [named('earlier', 100), named('later', 200)]
    const common = room.after(later, levels(bob, room.levelsWith({ events: { [POWER]: 50 }, ban: 40 })), join(dave))
    const states = [told(room.after(common, ban(alice, carol)), earlier, MEMBER, bob), common]
    const resolved = room.naively(states, enlarging)
    expect(enlarging === 'whole-chain' ? resolved : room.merged(...states)).toEqual(resolved)
    return room.content(resolved, MEMBER, bob)?.['displayname']
  }

  it('is ordered with the power events by the letter, and not by servers that are known, before version 12', () => {
    expect(nameOfBob('11', 'whole-chain')).toBe('earlier')
    expect(nameOfBob('11', 'through-the-set')).toBe('later')
  })

  it('makes no difference in version 12, where the conflicted state subgraph has what lies between', () => {
    expect(nameOfBob('12', 'through-the-set')).toBe(nameOfBob('12', 'whole-chain'))
  })
})

describe('creators of version 12', () => {
  it('are above every level in the order of power events', () => {
    const room = new Room('12', { users: { [bob]: 100 } })
    const left = room.branch({ ...kick(alice, bob), ts: 9_000 })
    const right = room.branch({ ...levels(bob, { users: { [bob]: 100 }, ban: 99 }), ts: 1 })
    const resolved = room.merged(left, right)
    expect(room.content(resolved, MEMBER, bob)).toEqual({ membership: 'leave' })
    expect(room.content(resolved, POWER)).toEqual({ users: { [bob]: 100 } })
  })

  it('cannot be removed by who has 100', () => {
    const room = new Room('12', { users: { [bob]: 100 } })
    const left = room.with(room.start, { ...ban(bob, alice), ts: 1 })
    expect(room.content(room.merged(left, room.start), MEMBER, alice)).toEqual({ membership: 'join' })
  })
})

describe('resolving states of a room of version 1', () => {
  it('has no conflict where a state lacks a key', () => {
    const room = new Room('1')
    const resolved = room.merged(room.branch(topic(bob, 'only here')), room.branch(join(dave)))
    expect(room.content(resolved, 'm.room.topic')).toEqual({ topic: 'only here' })
    expect(room.content(resolved, MEMBER, dave)).toEqual({ membership: 'join' })
  })

  it('takes the deepest topic, whatever the timestamps', () => {
    const room = new Room('1')
    const left = room.branch({ ...topic(bob, 'deep'), depth: 20, ts: 1 })
    const right = room.branch({ ...topic(bob, 'shallow'), depth: 19, ts: 9_000 })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toEqual({ topic: 'deep' })
  })

  it('takes the lowest sha1 of the event ids among equally deep ones', () => {
    const room = new Room('1')
    // sha1: 14a9… and 29b5…
    const left = room.branch({ ...topic(bob, 'one'), depth: 20, id: '$one:one.example' })
    const right = room.branch({ ...topic(bob, 'two'), depth: 20, id: '$two:one.example' })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toEqual({ topic: 'one' })
  })

  it('takes the shallowest where no topic passes', () => {
    const room = new Room('1')
    const left = room.with(room.start, { ...topic(carol, 'deep'), depth: 20 })
    const right = room.with(room.start, { ...topic(carol, 'shallow'), depth: 19 })
    expect(room.content(room.merged(left, right), 'm.room.topic')).toEqual({ topic: 'shallow' })
  })

  it('stops at the first levels that are refused, though others after it would pass', () => {
    const room = new Room('1')
    const put = (sender: string, ban: number, depth: number) =>
      room.with(room.start, { ...levels(sender, room.levelsWith({ ban })), depth })
    const resolved = room.merged(put(alice, 51, 20), put(carol, 52, 21), put(alice, 53, 22))
    expect(room.content(resolved, POWER)?.['ban']).toBe(51)
  })

  it('judges members by the levels that came out', () => {
    const room = new Room('1', { users: { [bob]: 50 } })
    const left = room.branch({ ...levels(alice, room.levelsWith({ users: {} })), depth: 30 }, join(carol, 'C'))
    const right = room.branch(
      { ...levels(alice, room.levelsWith({ kick: 50 })), depth: 20 },
      { ...kick(bob, carol), depth: 99 },
    )
    expect(room.content(room.merged(left, right), MEMBER, carol)).toEqual({ membership: 'join', displayname: 'C' })
  })
})
