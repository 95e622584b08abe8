/**
 * What resolving costs at sizes that peers can cause. The times are printed. The bounds are wide, for busy machines and a
 * slow test runner: they are there for what grows with the square.
 */
import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { EventNumber } from '../../../src/protocol/numbers.js'
import { rulesOf } from '../../../src/protocol/room-versions.js'
import { resolveState, stateMapKey, type ResolutionEvent } from '../../../src/protocol/state-resolution/index.js'
import { processorTime } from '../../support/processor-time.js'

const admins = ['@alice:one.example', '@bob:two.example'] as const
const POWER = 'm.room.power_levels'

/** Makes events that stand on each other, and resolves. */
class Shape {
  private readonly events: ResolutionEvent[] = []
  private readonly rules
  private readonly roomId = '!0:one.example'
  readonly create: EventNumber
  readonly rulesEvent: EventNumber
  readonly members: readonly EventNumber[]
  readonly levels: EventNumber
  readonly users: JsonObject

  constructor(private readonly version: string) {
    this.rules = rulesOf(version)!
    this.create = this.event(admins[0], 'm.room.create', '', { room_version: version }, [])
    this.members = admins.map((user) => this.member(user, user, 'join', []))
    this.users = { ...(this.rules.privilegedCreators ? {} : { [admins[0]]: 100 }), [admins[1]]: 100 }
    this.levels = this.event(admins[0], POWER, '', { users: this.users }, [this.members[0]!])
    this.rulesEvent = this.event(admins[0], 'm.room.join_rules', '', { join_rule: 'public' }, [this.levels])
  }

  event(
    sender: string,
    type: string,
    stateKey: string,
    content: JsonObject,
    selected: readonly EventNumber[],
  ): EventNumber {
    const number = this.events.length as EventNumber
    const isCreate = type === 'm.room.create'
    const authEvents = isCreate || !this.rules.createInAuthEvents ? selected : [this.create, ...selected]
    const event = {
      ...{ eventId: `$${number}:one.example`, roomId: this.roomId, sender, type, stateKey, content, depth: number },
      ...{ originServerTs: number, prevEvents: isCreate ? [] : ['$a', '$b'], authEvents: [], redacts: undefined },
      pdu: {},
    }
    const made = this.rules.roomIdIsCreateHash ? { ...event, eventId: `$${number}`, roomId: '!0' } : event
    const characters = JSON.stringify(made).length
    this.events.push({ number, event: made, authEvents, rejected: false, characters })
    return number
  }

  member(sender: string, user: string, membership: string, selected: readonly EventNumber[]): EventNumber {
    return this.event(sender, 'm.room.member', user, { membership }, selected)
  }

  resolve(conflicted: readonly EventNumber[], difference: readonly EventNumber[], name: string): number {
    const unconflicted = new Map(
      [this.create, ...this.members, this.rulesEvent].map((number) => {
        const { type, stateKey } = this.events[number]!.event
        return [stateMapKey(type, stateKey!), number]
      }),
    )
    const sets = {
      unconflicted: (type: string, stateKey: string) => unconflicted.get(stateMapKey(type, stateKey)),
      conflicted,
      authDifference: new Set(difference),
      conflictedSubgraph: new Set(this.rules.stateResolution === 'v2.1' ? [...conflicted, ...difference] : []),
      create: this.create,
    }
    const start = processorTime()
    const resolved = resolveState(this.rules, sets, (number) => this.events[number]!, 1_000_000)
    const milliseconds = processorTime() - start
    console.info(`version ${this.version}, ${name}: ${milliseconds.toFixed(0)} ms`)
    expect(resolved.size).toBeGreaterThan(0)
    return milliseconds
  }
}

describe.each(['1', '11', '12'])('the cost of resolving in version %s', (version) => {
  it('is small for two branches of 1,000 levels and bans', () => {
    const shape = new Shape(version)
    const [conflicted, difference]: EventNumber[][] = [[], []]
    for (const [index, admin] of admins.entries()) {
      let levels = shape.levels
      for (let n = 0; n < 500; n++) {
        const content = { users: { ...shape.users, [`@user${n}:one.example`]: 10 + index } }
        difference!.push((levels = shape.event(admin, POWER, '', content, [levels, shape.members[index]!])))
        conflicted!.push(shape.member(admin, `@other${n}:one.example`, 'ban', [levels, shape.members[index]!]))
      }
      conflicted!.push(difference!.pop()!)
    }
    expect(shape.resolve(conflicted!, difference!, '2 × 1,000')).toBeLessThan(3_000)
  })

  it('does not grow with the square of the events that stand on one', () => {
    const shape = new Shape(version)
    const levels = shape.event(admins[0], POWER, '', { users: shape.users, ban: 60 }, [shape.levels, shape.members[0]!])
    const bans = Array.from({ length: 5_000 }, (_, n) =>
      shape.member(admins[0], `@other${n}:one.example`, 'ban', [levels, shape.members[0]!]),
    )
    const wide = shape.event(admins[0], 'm.room.topic', '', { topic: 'wide' }, [...bans, levels, shape.members[0]!])
    expect(shape.resolve([...bans, wide, levels], [], 'a fan of 5,000')).toBeLessThan(3_000)
  })

  it('does not grow with the square of a line of levels', () => {
    const shape = new Shape(version)
    const line = [shape.levels]
    const others: EventNumber[] = []
    for (let n = 0; n < 5_000; n++) {
      const on = [line.at(-1)!, shape.members[0]!]
      line.push(shape.event(admins[0], POWER, '', { users: shape.users, ban: n % 50 }, on))
      others.push(shape.event(admins[0], 'org.example.thing', String(n), {}, on))
    }
    // Half of the things stand on levels beside the mainline, which are walked until they reach it.
    expect(shape.resolve([...others, line[2_500]!], line.slice(1, 2_500), 'a line of 5,000')).toBeLessThan(3_000)
  })

  it('is bearable for levels that name as many users as an event holds', () => {
    const shape = new Shape(version)
    const named = Object.fromEntries(
      Array.from({ length: 1_200 }, (_, n) => [`@user${n}:a-server-somewhere.example`, 50]),
    )
    const line = [shape.levels]
    for (let n = 0; n < 100; n++) {
      const content = { users: { ...shape.users, ...named, '@user7:a-server-somewhere.example': n % 50 } }
      line.push(shape.event(admins[0], POWER, '', content, [line.at(-1)!, shape.members[0]!]))
    }
    expect(shape.resolve([line[0]!, line.at(-1)!], line.slice(1, -1), '100 levels of 64 KB')).toBeLessThan(5_000)
  })
})
