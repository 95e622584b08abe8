/**
 * The rooms of test/fixtures/rooms: what is told in each sentence, built. What must come out is said by hand, so that a
 * fault which the naive resolver shared could not write itself into a file. `make-room-files.ts` writes them.
 */
import type { LabEvent } from './judged-room.js'
import { type Branch, labRoom } from './lab-room.js'
import { alice, bob, carol, dave, erin } from './servers.js'

export interface ExampleRoom {
  readonly description: string
  readonly versions: readonly string[]
  build(version: string): {
    readonly room: Branch
    /** Of the state that comes out: the event at a type and key, null for none. */
    readonly state: readonly (readonly [type: string, stateKey: string, event: LabEvent | null])[]
    readonly rejected?: readonly LabEvent[]
    readonly redacted?: readonly LabEvent[]
  }
}

const member = 'm.room.member'
const topic = 'm.room.topic'
const power = 'm.room.power_levels'
const all = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12']
/** One of each algorithm, and of each way to name events. */
const each = ['1', '2', '3', '11', '12']

export const exampleRooms: Readonly<Record<string, ExampleRoom>> = {
  'simple-fork': {
    description: 'Two members speak at once and set different things; the next event binds both branches together.',
    versions: all,
    build(version) {
      const room = labRoom({ version, levels: { state_default: 0 }, members: [bob, carol] })
      const [left, right] = room.fork()
      left!.say(alice, 'left')
      const set = left!.topic(alice, 'set on the left')
      const join = right!.join(dave)
      right!.say(carol, 'right')
      room.merge(left!, right!).say(bob, 'both')
      return {
        room,
        state: [
          [topic, '', set],
          [member, dave, join],
        ],
      }
    },
  },

  'ban-and-join': {
    description: 'While Alice bans Carol, Carol, who had left, joins again: she is banned.',
    versions: each,
    build(version) {
      const room = labRoom({ version, members: [bob, carol] })
      room.leave(carol)
      const [left, right] = room.fork()
      const ban = left!.ban(alice, carol)
      right!.join(carol)
      room.merge(left!, right!).say(alice, 'after')
      return { room, state: [[member, carol, ban]] }
    },
  },

  'power-level-fight': {
    description:
      'Two moderators take away each other’s level at once, while the administrator raises the level of the topic: the administrator’s levels stand.',
    versions: ['2', '3', '11', '12'],
    build(version) {
      const before = { users: { [bob]: 50, [carol]: 50 }, events: { [power]: 50 } }
      const room = labRoom({ version, levels: before, members: [bob, carol] })
      const [left, middle, right] = room.fork(3)
      left!.levels(bob, room.levelsWith({ ...before, users: { [bob]: 50, [carol]: 50, [dave]: 25 } }))
      const raised = middle!.levels(alice, room.levelsWith({ ...before, users: {}, events: { [power]: 100 } }))
      right!.levels(carol, room.levelsWith({ ...before, users: { [bob]: 50, [carol]: 0 } }))
      room.merge(left!, middle!, right!).say(alice, 'after')
      return { room, state: [[power, '', raised]] }
    },
  },

  'concurrent-topics': {
    description: 'Three members set the topic at once, in the same levels: the one who set it last has set it.',
    versions: ['2', '3', '11', '12'],
    build(version) {
      const room = labRoom({ version, levels: { state_default: 0 }, members: [bob, carol] })
      const branches = room.fork(3)
      branches[0]!.topic(alice, 'first')
      branches[1]!.topic(bob, 'second')
      const last = branches[2]!.topic(carol, 'third')
      room.merge(...branches).say(alice, 'after')
      return { room, state: [[topic, '', last]] }
    },
  },

  'concurrent-topics-by-depth': {
    description:
      'Two members set the topic at once in a room of version 1: the one whose event lies deeper has set it.',
    versions: ['1'],
    build(version) {
      const room = labRoom({ version, levels: { state_default: 0 }, members: [bob, carol] })
      const [left, right] = room.fork()
      left!.say(alice, 'one deeper')
      const deeper = left!.topic(alice, 'first')
      right!.topic(bob, 'second')
      room.merge(left!, right!).say(alice, 'after')
      return { room, state: [[topic, '', deeper]] }
    },
  },

  'two-forks-merged-twice': {
    description: 'Two branches are merged by two members at once, in two events, and these are merged again.',
    versions: each,
    build(version) {
      const room = labRoom({ version, levels: { state_default: 0 }, members: [bob, carol, dave] })
      const [left, right] = room.fork()
      left!.topic(alice, 'first')
      const ban = left!.ban(alice, dave)
      right!.say(dave, 'not banned here')
      const [one, other] = room.merge(left!, right!).fork()
      const name = one!.event(bob, { type: 'm.room.name', stateKey: '', content: { name: 'one' } })
      const last = other!.topic(carol, 'second')
      room.merge(one!, other!).say(alice, 'after')
      return {
        room,
        state: [
          [member, dave, ban],
          ['m.room.name', '', name],
          [topic, '', last],
        ],
      }
    },
  },

  'late-ban': {
    description:
      'Carol, a moderator, is banned, and goes on acting on a branch that does not know of it: she invites Erin and sets the topic. Nothing of that is left.',
    versions: ['2', '3', '11', '12'],
    build(version) {
      const room = labRoom({ version, levels: { users: { [carol]: 50 } }, members: [bob, carol] })
      const joined = room.stateEvent(member, bob)!
      const [left, right] = room.fork()
      const ban = left!.ban(alice, carol)
      right!.topic(carol, 'mine')
      right!.ban(carol, bob)
      right!.invite(carol, erin)
      room.merge(left!, right!).say(alice, 'after')
      return {
        room,
        state: [
          [member, carol, ban],
          [topic, '', null],
          [member, erin, null],
          [member, bob, joined],
        ],
      }
    },
  },

  'late-ban-overtakes-bans': {
    description:
      'A moderator bans others on a branch that does not know that the administrator has taken their level: the bans of that branch go with the level.',
    versions: ['2', '3', '11', '12'],
    build(version) {
      const room = labRoom({ version, levels: { users: { [carol]: 50 } }, members: [bob, carol] })
      const joined = room.stateEvent(member, bob)!
      const [left, right] = room.fork()
      const levels = left!.levels(alice, room.levelsWith({}))
      right!.ban(carol, bob)
      room.merge(left!, right!).say(alice, 'after')
      return {
        room,
        state: [
          [power, '', levels],
          [member, bob, joined],
        ],
      }
    },
  },

  'redaction-before-target': {
    description: 'A message is redacted; servers may get the redaction before the message. Its content is nowhere.',
    versions: all,
    build(version) {
      const room = labRoom({ version, members: [bob, carol] })
      const secret = room.say(carol, 'a secret')
      const [left, right] = room.fork()
      left!.redact(alice, secret)
      right!.say(bob, 'meanwhile')
      room.merge(left!, right!).say(alice, 'after')
      return { room, state: [], redacted: [secret] }
    },
  },

  'redaction-by-a-stranger': {
    description: 'A member without the level for it redacts a message of another server: the message stays as it is.',
    versions: ['3', '11', '12'],
    build(version) {
      const room = labRoom({ version, members: [bob, carol] })
      const message = room.say(carol, 'not a secret')
      room.redact(bob, message)
      room.say(alice, 'after')
      return { room, state: [], redacted: [] }
    },
  },

  'soft-failed-then-merged': {
    description:
      'Carol speaks and sets the topic on a branch from before she was kicked: soft-failed by who knows of the kick. A member who did not know binds both branches together, and the room goes on after that.',
    versions: each,
    build(version) {
      const room = labRoom({ version, levels: { state_default: 0 }, members: [bob, carol] })
      const [left, right] = room.fork()
      const kick = left!.kick(alice, carol)
      left!.say(alice, 'she is gone')
      right!.say(carol, 'still here')
      room.merge(left!, right!)
      room.say(bob, 'both')
      const set = room.topic(alice, 'after')
      return {
        room,
        state: [
          [member, carol, kick],
          [topic, '', set],
        ],
      }
    },
  },

  'restricted-join-after-join-rule': {
    description:
      'Carol joins on the word of Bob, as a member of the allowed room may, while Alice closes the room to all but the invited: she is not in it.',
    versions: ['8', '9', '10', '11', '12'],
    build(version) {
      const allow = [{ type: 'm.room_membership', room_id: '!elsewhere:one.example' }]
      const joinRules = { join_rule: 'restricted', allow }
      const room = labRoom({ version, joinRules })
      room.invite(alice, bob)
      room.join(bob)
      const [left, right] = room.fork()
      const closed = left!.joinRules(alice, { join_rule: 'invite' })
      right!.join(carol, { join_authorised_via_users_server: bob })
      room.merge(left!, right!).say(alice, 'after')
      return {
        room,
        state: [
          ['m.room.join_rules', '', closed],
          [member, carol, null],
        ],
      }
    },
  },

  'rejected-event': {
    description:
      'Carol sets the topic without the level for it, and another server builds on that: it is as if she had not.',
    versions: all,
    build(version) {
      const room = labRoom({ version, members: [bob, carol] })
      const set = room.topic(alice, 'true')
      const refused = room.attempt(carol, { type: topic, stateKey: '', content: { topic: 'false' } })
      room.tips = [refused]
      room.say(bob, 'after')
      return { room, state: [[topic, '', set]], rejected: [refused] }
    },
  },

  'problem-a': problemA(['11'], 'The join rules are gone'),
  'problem-a-solved': problemA(['12'], 'The join rules are the newer ones'),
  'problem-b': problemB(['11'], 'the first'),
  'problem-b-solved': problemB(['12'], 'the last'),
  'profile-between-rules': ruleAgainstOlder(['2', '3', '11'], 'The older comes out'),
  'profile-between-rules-solved': ruleAgainstOlder(['12'], 'The newer comes out'),
}

/** Found in rooms shared with Synapse: docs/decisions/0005-state-resolution.md, on the auth difference. */
function ruleAgainstOlder(versions: readonly string[], outcome: string): ExampleRoom {
  return {
    description: `Bob, a moderator, closes the room; Alice, above him, renames herself and opens it, while Carol speaks. ${outcome}.`,
    versions,
    build(version) {
      const room = labRoom({ version, levels: { users: { [bob]: 50 } }, members: [bob, carol] })
      const older = room.joinRules(bob, { join_rule: 'invite' })
      room.join(alice, { displayname: 'Alice' })
      const [left, right] = room.fork()
      const newer = left!.joinRules(alice, { join_rule: 'public' })
      right!.say(carol, 'meanwhile')
      room.merge(left!, right!).say(alice, 'both')
      return { room, state: [['m.room.join_rules', '', version === '12' ? newer : older]] }
    },
  }
}

/** MSC4297, problem A. The v2 algorithm loses the join rules; v2.1 does not. */
function problemA(versions: readonly string[], outcome: string): ExampleRoom {
  return {
    description: `Alice closes the room and leaves; then a peer tells an old state, in which it is still open. ${outcome}.`,
    versions,
    build(version) {
      const room = labRoom({ version, levels: { users: { [bob]: 100 } }, members: [bob, carol] })
      const open = room.stateEvent('m.room.join_rules')!
      const closed = room.joinRules(alice, { join_rule: 'invite' })
      room.leave(alice)
      const right = room.forkWithTold([open])
      const [left] = room.fork(1)
      const named = left!.join(bob, { displayname: 'Bob' })
      const authEvents = [...selected(room, carol), closed]
      right.event(carol, {
        type: member,
        stateKey: carol,
        content: { membership: 'join', displayname: 'C' },
        authEvents,
      })
      room.merge(left!, right)
      const expected = version === '12' ? closed : null
      return {
        room,
        state: [
          ['m.room.join_rules', '', expected],
          [member, bob, named],
        ],
      }
    },
  }
}

/** MSC4297, problem B. The v2 algorithm falls back to the old levels; v2.1 replays what lies between. */
function problemB(versions: readonly string[], which: string): ExampleRoom {
  return {
    description: `Alice raises Bob, Bob raises Carol; then a peer tells a state with the levels from before. The levels are ${which}.`,
    versions,
    build(version) {
      const between = { events: { [power]: 50 } }
      const room = labRoom({ version, levels: between, members: [bob, carol] })
      const first = room.stateEvent(power)!
      room.levels(alice, room.levelsWith({ ...between, users: { [bob]: 50 } }))
      const last = room.levels(bob, room.levelsWith({ ...between, users: { [bob]: 50, [carol]: 50 } }))
      const [left, right] = room.fork()
      left!.join(erin)
      const told = left!.forkWithTold([first])
      told.join(erin, { displayname: 'Eve' })
      const joined = right!.join(dave)
      room.merge(told, right!)
      return {
        room,
        state: [
          [power, '', version === '12' ? last : first],
          [member, dave, joined],
        ],
      }
    },
  }
}

/** What a member of the room names as auth events of a new profile, the join rules aside. */
const selected = (room: Branch, user: string): LabEvent[] =>
  [...(room.rules.createInAuthEvents ? [room.stateEvent('m.room.create')!] : []), room.stateEvent(power)!].concat(
    room.stateEvent(member, user)!,
  )
