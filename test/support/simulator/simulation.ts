/**
 * One room on several Hearths, all of whose randomness comes from a seed. There is no clock and no network: what is to
 * happen stands on an agenda, and one thing happens after the other.
 *
 * 1. The first server makes the room; the others get it, and somebody of each joins.
 * 2. Users act. What they make travels to each other server with a delay of its own; some of it twice, some never. Who
 *    gets an event without its parents fetches them at once, or waits a while in case they come by themselves.
 * 3. When nothing is left to happen, every server gets what it lacks. Then, in rounds, each binds its ends together with a
 *    message that reaches everybody.
 * 4. Now they must agree (comparison.ts). A room can come to where a server has nobody left who may send (with versions
 *    before 12 a resolution can take all its users out): its ends are then bound by nobody, since the others soft-fail
 *    them. Or only it believes that they may send: the state of its own soft-failed events says so, which the others never
 *    take for current. Such a room is torn; every event of it and the states around it must be the same all the same.
 */
import type { Draft } from '../../../src/room/draft.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { rulesOf, type RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { testRoom } from '../rooms.js'
import { Agenda } from './agenda.js'
import { compare } from './comparison.js'
import { randomDraft, type Scene } from './drafts.js'
import { Random } from './random.js'
import { Rogue } from './rogue.js'
import { SimulatedServer, type Pool, type WireEvent } from './simulated-server.js'

export interface SimulationOptions {
  readonly seed: number
  readonly version: string
  /** How many events the users make, beside those that make the room and those that merge. */
  readonly events: number
  /** Also hold the servers against the naive resolver. */
  readonly oracle: boolean
  /** One more server, which does not play by the rules, makes some of the events. */
  readonly rogue: boolean
}

export interface Outcome {
  readonly seed: number
  readonly version: string
  /** Sentences; none when all agree. */
  readonly differences: readonly string[]
  readonly events: number
  readonly refused: number
  readonly rejected: number
  readonly softFailed: number
  /** Some server had ends to bind, and nobody who may send, or whom the others let send. */
  readonly torn: boolean
  /** Events with several prev events. */
  readonly merges: number
  /** Every PDU, parents first, and the order in which each server took them. */
  readonly pdus: readonly string[]
  readonly arrivals: Readonly<Record<string, readonly string[]>>
}

type Happening =
  | { readonly kind: 'act'; readonly server: SimulatedServer }
  | { readonly kind: 'deceive' }
  | { readonly kind: 'arrive'; readonly server: SimulatedServer; readonly wire: WireEvent; readonly patience: number }

const mergingRounds = 4
const start = 1_700_000_000_000

export async function simulate(engines: readonly RoomEngine[], options: SimulationOptions): Promise<Outcome> {
  const simulation = new Simulation(engines, options)
  await simulation.found()
  await simulation.live()
  await simulation.settle()
  return simulation.outcome()
}

class Simulation {
  private readonly random: Random
  private readonly rules: RoomVersionRules
  private readonly pool: Pool = new Map()
  private readonly agenda = new Agenda<Happening>()
  private readonly servers: readonly SimulatedServer[]
  /** Local clocks differ. */
  private readonly skew: ReadonlyMap<SimulatedServer, number>
  private readonly rogue: Rogue | undefined
  private made = 0
  private torn = false

  constructor(
    engines: readonly RoomEngine[],
    private readonly options: SimulationOptions,
  ) {
    this.random = new Random(options.seed * 1_000 + Number(options.version))
    this.rules = rulesOf(options.version)!
    this.servers = engines.map((engine) => new SimulatedServer(engine, this.pool))
    if (options.rogue) this.rogue = new Rogue(this.rules, this.random, this.pool, options.seed)
    this.skew = new Map(this.servers.map((server) => [server, this.random.below(3) * 500]))
  }

  private usersOf(server: SimulatedServer): string[] {
    return ['anchor', 'ann', 'ben', 'cat'].map((localpart) => server.user(localpart))
  }

  private get everybody(): string[] {
    return [...this.servers.flatMap((server) => this.usersOf(server).slice(1)), ...(this.rogue?.users.slice(1) ?? [])]
  }

  private get first(): SimulatedServer {
    return this.servers[0]!
  }

  async found(): Promise<void> {
    const { first, random } = this
    const creator = first.user('anchor')
    const roomId = `!sim${this.options.version}-${this.options.seed}:${first.name}`
    const room = await testRoom(first.engine, creator, this.options.version, [], {
      roomId,
      at: start,
      create: this.createContent(),
      levels: this.firstLevels(),
    })
    const events = await first.engine.stores.events.page(room.room, { backwards: false, limit: 10 })
    const wires = events.map(({ event, text }) => ({ event, text }))
    first.enter(room, wires)
    for (const server of this.servers.slice(1)) await this.bring(server, wires)
    for (const server of this.servers.slice(1)) await this.joinAtFirst(server, server.user('anchor'))
    for (const server of this.servers) {
      for (const user of this.usersOf(server).slice(1)) if (random.chance(0.5)) await this.joinAtFirst(server, user)
    }
    await this.rogueJoins()
  }

  private async rogueJoins(): Promise<void> {
    for (const user of this.rogue?.users ?? []) {
      const join = { type: 'm.room.member', stateKey: user, sender: user, content: { membership: 'join' } }
      await this.spread(undefined, await this.rogue!.makeHonestly(this.timed(this.first, join), this.first))
    }
  }

  /** From version 12 on the room's id is a hash of this. */
  private createContent(): JsonObject {
    const content = { 'org.example.seed': this.options.seed }
    if (!this.rules.additionalCreators || this.random.chance(0.5)) return content
    return { ...content, additional_creators: [this.servers[1]!.user('anchor')] }
  }

  private firstLevels(): JsonObject {
    const { random, rules } = this
    const users: Record<string, number> = {}
    for (const server of this.servers) users[server.user('anchor')] = 100
    for (const user of this.everybody) if (random.chance(0.4)) users[user] = random.pick([25, 50, 100])
    if (rules.privilegedCreators) {
      delete users[this.first.user('anchor')]
      delete users[this.servers[1]!.user('anchor')]
    }
    return { users, users_default: 0, events: { 'm.room.topic': random.pick([0, 50]) }, state_default: 50 }
  }

  private async bring(server: SimulatedServer, [create, ...others]: readonly WireEvent[]): Promise<void> {
    const { rooms } = server.engine
    server.enter(await rooms.adopt({ ...create!, kind: 'live' }, this.options.version), [create!])
    await server.receive(...others)
  }

  private async joinAtFirst(server: SimulatedServer, user: string): Promise<void> {
    const content = { membership: 'join' }
    const wire = await server.send(this.timed(server, { type: 'm.room.member', stateKey: user, sender: user, content }))
    if (wire !== undefined) await this.spread(server, wire)
  }

  private timed(server: SimulatedServer, draft: Draft): Draft {
    return { ...draft, originServerTs: start + 1_000 + this.agenda.now + this.skew.get(server)! }
  }

  /** To everybody, at once, with what they lack. */
  private async spread(from: SimulatedServer | undefined, wire: WireEvent): Promise<void> {
    const others = this.servers.filter((server) => server !== from)
    await Promise.all(others.map((server) => server.receive(wire)))
  }

  async live(): Promise<void> {
    for (const server of this.servers) this.planNextAct(server)
    if (this.rogue !== undefined) this.agenda.plan(0, { kind: 'deceive' })
    for (let next = this.agenda.next(); next !== undefined; next = this.agenda.next()) {
      if (next.kind === 'act') await this.act(next.server)
      else if (next.kind === 'deceive') await this.deceive()
      else await this.arrive(next)
    }
  }

  private planNextAct(server: SimulatedServer): void {
    if (!this.isOver) this.agenda.plan(this.random.below(120), { kind: 'act', server })
  }

  private get isOver(): boolean {
    const attempts = this.made + this.servers.reduce((sum, { refused }) => sum + refused, 0)
    return this.made >= this.options.events || attempts > this.options.events * 6
  }

  /** The rogue's events reach some servers; the others have to fetch what is built on them. */
  private async deceive(): Promise<void> {
    const { random, rogue } = this
    if (rogue === undefined || this.isOver) return
    const seenBy = random.pick(this.servers)
    const scene = { ...this.sceneOf(seenBy), server: rogue.name, users: rogue.users }
    const wire = await rogue.make(this.timed(seenBy, await randomDraft(scene)), seenBy)
    this.made++
    this.dispatch(undefined, wire)
    this.agenda.plan(random.below(120), { kind: 'deceive' })
  }

  private async act(server: SimulatedServer): Promise<void> {
    const wire = await server.send(this.timed(server, await randomDraft(this.sceneOf(server))))
    if (wire !== undefined) {
      this.made++
      this.dispatch(server, wire)
    }
    this.planNextAct(server)
  }

  private sceneOf(server: SimulatedServer): Scene {
    return {
      rules: this.rules,
      random: this.random,
      server: server.name,
      users: this.usersOf(server),
      everybody: this.everybody,
      redactable: [...server.arrivals].filter((eventId) => isRedactable(this.pool.get(eventId)!)),
      content: (type, stateKey) => server.content(type, stateKey),
    }
  }

  private dispatch(from: SimulatedServer | undefined, wire: WireEvent): void {
    const { random } = this
    for (const server of this.servers) {
      if (server === from) continue
      const copies = random.chance(0.15) ? 0 : random.chance(0.1) ? 2 : 1
      for (let copy = 0; copy < copies; copy++) {
        this.agenda.plan(delay(random), { kind: 'arrive', server, wire, patience: random.below(3) })
      }
    }
  }

  private async arrive(arrival: Extract<Happening, { kind: 'arrive' }>): Promise<void> {
    const { server, wire, patience } = arrival
    if (patience > 0 && !server.has(wire.event.eventId) && !server.isReadyFor(wire)) {
      return this.agenda.plan(delay(this.random), { ...arrival, patience: patience - 1 })
    }
    await server.receive(wire)
  }

  async settle(): Promise<void> {
    for (const server of this.servers) {
      await server.receive(...this.random.shuffled([...this.pool.values()]))
    }
    for (let round = 0; round < mergingRounds && !(await this.isMerged()); round++) {
      this.torn = false
      for (const server of this.servers) if (!(await this.merge(server))) this.torn = true
    }
  }

  /** Everybody has one end, and it is the same. */
  private async isMerged(): Promise<boolean> {
    const ends = await Promise.all(this.servers.map((server) => server.extremities()))
    return ends.every((ids) => ids.length === 1 && ids[0] === ends[0]![0])
  }

  /** False when none of its users may send, or when another server soft-fails what they send. */
  private async merge(server: SimulatedServer): Promise<boolean> {
    this.agenda.now += 1_000
    for (const sender of this.usersOf(server)) {
      const wire = await server.send(
        this.timed(server, { type: 'm.room.message', sender, content: { body: `merged by ${server.name}` } }),
      )
      if (wire === undefined) continue
      await this.spread(server, wire)
      const { eventId } = wire.event
      return (await Promise.all(this.servers.map((other) => other.counts(eventId)))).every((counts) => counts)
    }
    return false
  }

  async outcome(): Promise<Outcome> {
    const { servers, pool, options } = this
    const wires = [...pool.values()]
    const { differences, rejected, softFailed } = await compare(servers, wires, {
      ends: !this.torn,
      oracle: options.oracle ? this.rules : undefined,
    })
    return {
      seed: options.seed,
      version: options.version,
      differences,
      events: wires.length,
      refused: servers.reduce((sum, { refused }) => sum + refused, 0),
      rejected,
      softFailed,
      torn: this.torn,
      merges: wires.filter(({ event }) => event.prevEvents.length > 1).length,
      pdus: wires.map(({ text }) => text),
      arrivals: Object.fromEntries(servers.map(({ name, arrivals }) => [name, [...arrivals]])),
    }
  }
}

/** Most come soon, some much later. */
function delay(random: Random): number {
  if (random.chance(0.7)) return 1 + random.below(50)
  return random.chance(0.8) ? 50 + random.below(450) : 500 + random.below(2_500)
}

/**
 * What decides about other events is left alone: a redaction takes away more than the rules look at in some versions, and
 * then servers that hear of it at different times rightly judge differently.
 */
const isRedactable = ({ event }: WireEvent): boolean => /^(m\.room\.(message|topic|name)|org\.)/.test(event.type)
