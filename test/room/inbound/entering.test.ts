import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals'
import { rulesOf, roomVersionNames } from '../../../src/protocol/room-versions.js'
import { entries } from '../../../src/protocol/state-trie.js'
import type { KnownRoom } from '../../../src/room/known-room.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import { enter } from '../../../src/room/inbound/entering.js'
import { Fetching } from '../../../src/room/inbound/fetching.js'
import { isDropped, type Pdu } from '../../../src/room/inbound/read-pdu.js'
import { readSignedPdu } from '../../../src/room/inbound/receive-pdu.js'
import { joinedOfServer } from '../../../src/store/memberships.js'
import { whenLoaded } from '../../../src/store/missing.js'
import { StateView } from '../../../src/store/state-view.js'
import { alice, bob, carol, labRoom, type Branch, type LabEvent } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { signed } from '../../support/handshake.js'
import { held, mia, testInbound } from '../../support/inbound.js'
import { testDatabase } from '../../support/postgres.js'
import { testRooms, user } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
/** Another process on the same database. */
const other = await testRooms(database)
afterAll(() => Promise.all([engine.close(), other.close()]))
afterEach(() => void jest.restoreAllMocks())

let rooms = 0
const newRoom = (version = '11') => labRoom({ version, name: `entering${++rooms}`, members: [bob, carol] })

const pduOf = (room: Branch, { text }: LabEvent): Pdu => {
  const pdu = readSignedPdu(room.rules, room.events[0]!.event.roomId, text)
  if (isDropped(pdu)) throw new Error(pdu.why)
  return pdu
}

/** mia joins on the branch, and a resident server answers as it should. */
function answerTo(room: Branch, join: LabEvent, process: RoomEngine = engine) {
  const peer = new ScriptedServer('one.example', room.judged)
  const inbound = testInbound(database, process, network(peer, new ScriptedServer('three.example', room.judged)))
  const state = [...join.stateBefore.values()].map((eventId) => room.judged.get(eventId))
  const entrance = {
    roomId: join.event.roomId,
    version: room.rules.version,
    resident: 'one.example',
    join: pduOf(room, join),
    state: state.map(({ text }) => text),
    authChain: room.events.filter(({ eventId }) => eventId !== join.eventId).map(({ text }) => text),
  }
  return { peer, inbound, entrance }
}

const currentState = async (name: KnownRoom) => {
  const { head } = await engine.rooms.head(name)
  const { events } = await held(database, name)
  const names = new Map([...events.values()].map((row) => [row.event, row.event_id]))
  const view = new StateView(engine.stores, name.room)
  const found = await whenLoaded(() => view.run(entries(view.loaded, head.state)))
  return [...found].map(([, number]) => names.get(number)).sort()
}

/** Joins of so many users of other servers, each standing on the room alone, as none of the laboratory would take in time. */
function crowd(room: Branch, count: number): string[] {
  const auth = ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'].map(
    (type) => room.stateEvent(type)!.eventId,
  )
  return Array.from({ length: count }, (_, i) => {
    const who = `@guest${i}:two.example`
    return signed(room.rules.version, 'two.example', {
      room_id: room.roomId,
      type: 'm.room.member',
      sender: who,
      state_key: who,
      content: {
        membership: 'join',
        displayname: `Guest number ${i}`,
        avatar_url: `mxc://two.example/${'x'.repeat(40)}`,
      },
      auth_events: auth,
      prev_events: auth.slice(-1),
      depth: 10,
      origin_server_ts: 1_700_000_000_000 + i,
    }).text
  })
}

/** The most events that were read and still in memory when more of them were read. */
function mostAlive(): () => number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const read: WeakRef<Pdu>[] = []
  let most = 0
  const { read: honest } = Fetching.prototype
  // A spy would keep what it has seen.
  Fetching.prototype.read = async function (this: Fetching, ...given) {
    collect()
    most = Math.max(most, read.filter((pdu) => pdu.deref() !== undefined).length)
    const pdus = await honest.apply(this, given)
    for (const pdu of pdus.values()) read.push(new WeakRef(pdu))
    return pdus
  }
  return () => {
    Fetching.prototype.read = honest
    return most
  }
}

describe('coming into a room', () => {
  it('of thousands of members reads so many events at a time, and forgets them', async () => {
    const room = newRoom()
    const guests = crowd(room, 2_000)
    const join = room.join(mia)
    const { inbound, entrance } = answerTo(room, join)
    const alive = mostAlive()
    const name = await enter(inbound.deps, { ...entrance, state: [...guests, ...entrance.state] })
    expect((await engine.rooms.summary(name)).joined_members).toBe(2_004)
    expect(alive()).toBeLessThanOrEqual(1_000)
  }, 120_000)

  it.each(roomVersionNames)('of version %s makes the state its own, with the join as its only extremity', async (v) => {
    const room = newRoom(v)
    room.topic(alice, 'hello')
    room.say(bob, 'before anybody of ours was here')
    const join = room.join(mia)
    const { inbound, entrance } = answerTo(room, join)
    const name = await enter(inbound.deps, entrance)
    expect((await held(database, name)).extremities).toEqual([join.eventId])
    expect(await currentState(name)).toEqual([...join.stateAfter.values()].sort())
    expect(await joinedOfServer(database.db, name.room, 'hearth.test', 2)).toEqual([mia])
    expect((await engine.rooms.summary(name)).joined_members).toBe(4)
    expect(rulesOf(v)).toBe(name.rules)
  })

  it('goes on with what is sent afterwards', async () => {
    const room = newRoom()
    const join = room.join(mia)
    const { inbound, entrance } = answerTo(room, join)
    const name = await enter(inbound.deps, entrance)
    const said = room.say(bob, 'welcome')
    await inbound.transaction('one.example', [said.text])
    await inbound.settled()
    const { fates, extremities } = await held(database, name)
    expect([fates.get(said.eventId), extremities]).toEqual(['accepted', [said.eventId]])
  })

  it('again, after everybody of ours had left, takes the room as it is by now', async () => {
    const room = newRoom()
    const first = room.join(mia)
    const { inbound, entrance } = answerTo(room, first)
    const name = await enter(inbound.deps, entrance)
    const leave = room.leave(mia)
    await inbound.transaction('one.example', [leave.text])
    await inbound.settled()
    room.topic(alice, 'what we never heard of')
    room.ban(alice, bob)
    const second = room.join(mia)
    await enter(inbound.deps, answerTo(room, second).entrance)
    expect((await held(database, name)).extremities).toEqual([second.eventId])
    expect(await currentState(name)).toEqual([...second.stateAfter.values()].sort())
    expect((await engine.rooms.summary(name)).topic).toBe('what we never heard of')
  })

  it('when somebody else of ours has come in meanwhile, puts nobody out of it', async () => {
    const room = newRoom()
    const early = room.join(user('nina'))
    const late = room.join(mia)
    const { inbound, entrance } = answerTo(room, late)
    const name = await enter(inbound.deps, entrance)
    await enter(inbound.deps, answerTo(room, early).entrance)
    expect(await joinedOfServer(database.db, name.room, 'hearth.test', 3)).toEqual(
      expect.arrayContaining([mia, user('nina')]),
    )
    expect(await engine.rooms.membership(name, mia)).toBe('join')
  })

  it('leaves out events that are not signed as they should be, and what stands on them', async () => {
    const room = newRoom()
    const join = room.join(mia)
    const { inbound, entrance } = answerTo(room, join)
    const bobs = room.events.find(({ event }) => event.stateKey === bob)!
    const forged = (text: string) => text.replace(/("ed25519:[^"]+":")[^"]{4}/, '$1AAAA')
    const mangled = (texts: readonly string[]) => texts.map((text) => (text === bobs.text ? forged(text) : text))
    const { state, authChain } = entrance
    const name = await enter(inbound.deps, { ...entrance, state: mangled(state), authChain: mangled(authChain) })
    const withoutBob = [...join.stateAfter.values()].filter((eventId) => eventId !== bobs.eventId)
    expect(await currentState(name)).toEqual(withoutBob.sort())
  })

  it.each([
    ['without the create event', (texts: readonly string[]) => texts.filter((text) => !text.includes('m.room.create'))],
    ['of another room', () => newRoom().events.map(({ text }) => text)],
    ['that is empty', () => []],
  ])('on an answer %s fails, and no room is there', async (_sentence, change) => {
    const room = newRoom()
    const join = room.join(mia)
    const { inbound, entrance } = answerTo(room, join)
    const { state, authChain } = entrance
    const entering = enter(inbound.deps, { ...entrance, state: change(state), authChain: change(authChain) })
    await expect(entering).rejects.toMatchObject({ name: 'NotNow' })
    expect((await engine.stores.names.find(entrance.roomId))?.rules).toBeUndefined()
  })

  it.each(roomVersionNames)(
    'of version %s, another server cannot keep us out of by a create event of its own',
    async (version) => {
      const room = newRoom(version)
      const { inbound, entrance } = answerTo(room, room.join(mia))
      const [create] = room.events
      const { text: forged } = signed(version, 'three.example', {
        ...create!.event.pdu,
        event_id: version <= '2' ? '$forged:three.example' : undefined,
        room_id: room.roomId,
        sender: '@erin:three.example',
      })
      const alone = { ...entrance, resident: 'three.example', state: [forged], authChain: [] }
      await expect(enter(inbound.deps, alone)).rejects.toMatchObject({ name: 'NotNow' })
      const name = await enter(inbound.deps, { ...entrance, state: [forged, ...entrance.state] })
      expect((await engine.rooms.head(name)).create?.event.eventId).toBe(create!.eventId)
    },
  )

  it('that the state does not allow fails', async () => {
    const room = newRoom()
    room.ban(alice, mia)
    const join = room.attempt(mia, { type: 'm.room.member', stateKey: mia, content: { membership: 'join' } })
    const { inbound, entrance } = answerTo(room, join)
    await expect(enter(inbound.deps, entrance)).rejects.toMatchObject({ name: 'NotNow' })
  })
})

describe('two processes that come into a room at one moment', () => {
  const nina = user('nina')
  const users = async ({ room }: KnownRoom) => (await joinedOfServer(database.db, room, 'hearth.test', 3)).sort()

  /** Neither join knows of the other. */
  function joinsOf(room: Branch) {
    const [one, two] = room.fork()
    const first = answerTo(one!, one!.join(nina))
    const second = answerTo(two!, two!.join(mia), other)
    return { enterFirst: () => enter(first.inbound.deps, first.entrance), second }
  }

  it('put nobody out of it who came in after they had looked', async () => {
    const { enterFirst, second } = joinsOf(newRoom())
    const { receiveAll } = other.rooms
    let entering: Promise<KnownRoom> | undefined
    jest.spyOn(other.rooms, 'receiveAll').mockImplementation(async (name, arrivals) => {
      if (arrivals.some(({ kind }) => kind === 'entrance')) await (entering ??= enterFirst())
      return receiveAll.call(other.rooms, name, arrivals)
    })
    const name = await enter(second.inbound.deps, second.entrance)
    expect(entering).toBeDefined()
    expect(await users(name)).toEqual([mia, nina])
    expect(await other.rooms.membership(name, nina)).toBe('join')
  })

  it('make it one room when neither knew of it', async () => {
    const { enterFirst, second } = joinsOf(newRoom())
    const { names } = other.stores
    const { find } = names
    let entering: Promise<KnownRoom> | undefined
    jest.spyOn(names, 'find').mockImplementation(async (roomId) => {
      const found = await find.call(names, roomId)
      if (entering === undefined) await (entering = enterFirst())
      return found
    })
    const name = await enter(second.inbound.deps, second.entrance)
    expect(await users(name)).toEqual([mia, nina])
  })
})
