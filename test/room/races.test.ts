import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals'
import type { KyselyPlugin } from 'kysely'
import { rulesOf } from '../../src/protocol/room-versions.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import { ownConnection } from '../../src/store/database.js'
import { logLock } from '../../src/store/log-tables.js'
import type { RoomName } from '../../src/store/room-names.js'
import { eventually } from '../support/eventually.js'
import { arrivalOf } from '../support/inbound.js'
import { labRoom, type Branch, type LabEvent } from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database, { cacheMb: 1 })
afterAll(() => engine.close())
afterEach(() => void jest.restoreAllMocks())
const alice = user('alice')
const bob = user('bob')

await database.pool.query(`
  create function refuse_poison() returns trigger language plpgsql as $$
  begin
    if new.body like '%poison%' then raise exception 'no poison here'; end if;
    return new;
  end $$;
  create trigger refuse_poison before insert on event_text for each row execute function refuse_poison()`)

/** Holds the lock of the log: nobody writes until it is let go. */
async function holdLog(): Promise<{ waiting(count: number): Promise<unknown>; letGo(): Promise<void> }> {
  const client = ownConnection(database.address)
  await client.connect()
  await client.query(`begin; select pg_advisory_xact_lock(${logLock})`)
  return {
    waiting: (count) =>
      eventually(`${count} wait for the log`, async () => {
        const { rows } = await database.pool.query<{ count: number }>(
          `select count(*)::int from pg_locks where locktype = 'advisory' and not granted
             and database = (select oid from pg_database where datname = current_database())`,
        )
        return rows[0]?.count === count
      }),
    letGo: async () => {
      await client.query('commit')
      await client.end()
    },
  }
}

/** A room that other servers share, here and in another process. */
async function ofOthers(roomName: string) {
  const lab = labRoom({ name: roomName, members: ['@bob:two.example', alice] })
  const [create, ...events] = lab.events.map(arrivalOf)
  const name = await engine.rooms.adopt(create!, lab.rules.version)
  await engine.rooms.receiveAll(name, events)
  const other = await testRooms(database)
  return { lab, name, other, there: (await other.stores.names.find(name.roomId))! }
}

/** What happens while the database is asked, once, for what is around events that arrive. */
function beforeTheLookIsAnswered(happens: () => Promise<unknown>): void {
  const { events } = engine.stores
  const look = events.aroundArrivals.bind(events)
  jest.spyOn(events, 'aroundArrivals').mockImplementationOnce(async (...asked) => {
    const around = await look(...asked)
    await happens()
    return around
  })
}

const ban = (by: RoomEngine, room: RoomName) => by.rooms.changeMembership(room, alice, bob, { membership: 'ban' })

async function expectOneChain(room: RoomName): Promise<void> {
  const events = await engine.stores.events.page(room.room, { backwards: false, limit: 1_000 })
  expect(events.map(({ prevEvents }) => prevEvents)).toEqual([[], ...events.slice(0, -1).map(({ number }) => [number])])
  const { rows } = await database.pool.query('select forward_extremities from room where room = $1', [room.room])
  expect(rows).toEqual([{ forward_extremities: [events.at(-1)!.number] }])
}

describe('a room in memory', () => {
  it('does not keep a head that another process moved while it was read', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    let read!: () => void
    let release!: () => void
    const isRead = new Promise<void>((resolve) => (read = resolve))
    const released = new Promise<void>((resolve) => (release = resolve))
    const slowHeads: KyselyPlugin = {
      transformQuery: ({ node }) => node,
      async transformResult({ result }) {
        if (Object.hasOwn(result.rows[0] ?? {}, 'head_version')) {
          read()
          await released
        }
        return result
      },
    }
    const other = await testRooms({ ...database, db: database.db.withPlugin(slowHeads) })
    const there = (await other.stores.names.find(room.roomId))!
    const before = other.rooms.membership(there, bob)
    await isRead
    await ban(engine, room)
    await other.catchUp()
    release()
    await before
    expect(await other.rooms.membership(there, bob)).toBe('ban')
    await other.close()
  })

  it('takes what another process has placed for no outlier, as which it knows it', async () => {
    const { lab, name, other, there } = await ofOthers('outlier')
    const { memory, events } = other.stores
    const [left, right] = lab.fork() as [Branch, Branch]
    const said = left.say('@bob:two.example', 'hello')
    const { event: outlier } = await other.rooms.receive(there, { ...arrivalOf(said), kind: 'outlier' })
    const asItWas = { ...outlier }
    await engine.rooms.receive(name, arrivalOf(said))
    await other.catchUp()
    // As it is until it hears of that.
    const forget = () => memory.events.set(outlier.number, { ...asItWas })
    forget()
    other.rooms.invalidate([there.room])
    const beside = right.say('@bob:two.example', 'beside it')
    expect(await other.rooms.receive(there, arrivalOf(beside))).toMatchObject({ event: { fate: 'accepted' } })
    forget()
    expect(await events.byId(there.room, said.eventId)).toMatchObject({ stateBefore: expect.any(Number) as unknown })
    await other.close()
  })

  it('builds on what another process has stored, when it was about to store the same, and more that stands on it', async () => {
    const { lab, name, other, there } = await ofOthers('overtaken')
    const first = lab.say('@bob:two.example', 'first')
    const [left, right] = lab.fork() as [Branch, Branch]
    const second = left.say('@bob:two.example', 'second')
    const third = right.say('@bob:two.example', 'third')
    const log = await holdLog()
    const elsewhere = other.rooms.receive(there, arrivalOf(first))
    await log.waiting(1)
    const { eventNumbers } = engine.stores
    let letGo!: () => void
    const isStored = new Promise<void>((resolve) => (letGo = resolve))
    const refilling = jest.spyOn(eventNumbers, 'refill').mockReturnValue(isStored)
    const take = eventNumbers.take.bind(eventNumbers)
    let taken = 0
    jest
      .spyOn(eventNumbers, 'take')
      .mockImplementation(() => (taken++ === 2 && refilling.mock.calls.length === 0 ? undefined : take()))
    const here = engine.rooms.receiveAll(name, [first, second, third].map(arrivalOf))
    await log.waiting(2)
    await eventually('the third waits', () => refilling.mock.calls.length > 0)
    await log.letGo()
    await elsewhere
    await eventually(
      'the second is stored',
      async () => (await engine.stores.events.byId(name.room, second.eventId)) !== undefined,
    )
    jest.restoreAllMocks()
    letGo()
    expect((await here).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled'])
    const stored = await engine.stores.events.byIds(
      name.room,
      [first, second, third].map(({ eventId }) => eventId),
    )
    const prevEvents = [second, third].map(({ eventId }) => stored.get(eventId)?.prevEvents)
    expect(prevEvents).toEqual([[stored.get(first.eventId)?.number], [stored.get(first.eventId)?.number]])
    await other.close()
  })

  it('knows what is stored while the database is asked for it', async () => {
    const { lab, name, other } = await ofOthers('meanwhile')
    const [first, second] = [lab.say('@bob:two.example', 'first'), lab.say('@bob:two.example', 'second')]
    const log = await holdLog()
    const storing = engine.rooms.receive(name, arrivalOf(first))
    await log.waiting(1)
    beforeTheLookIsAnswered(async () => {
      await log.letGo()
      await storing
    })
    expect(await engine.rooms.receive(name, arrivalOf(second))).toMatchObject({ event: { fate: 'accepted' } })
    await other.close()
  })

  it('builds on what another process has stored, when it was about to store the same while it asked what is there', async () => {
    const { lab, name, other, there } = await ofOthers('asked')
    const [first, second] = [lab.say('@bob:two.example', 'first'), lab.say('@bob:two.example', 'second')]
    const log = await holdLog()
    const elsewhere = other.rooms.receive(there, arrivalOf(first))
    await log.waiting(1)
    const here = engine.rooms.receive(name, arrivalOf(first))
    await log.waiting(2)
    beforeTheLookIsAnswered(async () => {
      await log.letGo()
      await Promise.all([elsewhere, here])
    })
    const { event } = await engine.rooms.receive(name, arrivalOf(second))
    expect(event.prevEvents).toEqual([(await elsewhere).event.number])
    await other.close()
  })

  it('is the only one of its room, also when it is pushed out while it writes', async () => {
    const [room, elsewhere] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    const log = await holdLog()
    const sends = [say(engine, elsewhere, alice, 'first')]
    await log.waiting(1)
    const object = engine.rooms.room(room)
    sends.push(say(engine, room, alice, 'one'))
    await eventually('it writes', () => object.isBusy)
    for (let i = 0; i < 300; i++) {
      engine.rooms.room({ room: (1_000_000 + i) as never, roomId: `!${i}`, rules: rulesOf('11'), version: '11' })
    }
    sends.push(say(engine, room, alice, 'two'))
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    await log.letGo()
    await Promise.all(sends)
    await expectOneChain(room)
    expect((await engine.rooms.head(room)).head.version).toBe(3)
  })

  it('takes no state of another process for its own that was to be in the same place', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    const other = await testRooms(database)
    const there = (await other.stores.names.find(room.roomId))!
    const setLevels = (by: RoomEngine, name: RoomName, eventsDefault: number) =>
      by.rooms.send(name, {
        type: 'm.room.power_levels',
        stateKey: '',
        sender: alice,
        content: { users: { [alice]: 100 }, events_default: eventsDefault },
      })
    const log = await holdLog()
    const first = setLevels(other, there, 0)
    await log.waiting(1)
    const second = setLevels(engine, room, 100)
    await log.waiting(2)
    await expect(say(engine, room, bob, 'may I speak?')).rejects.toThrow('You may not send this event')
    await log.letGo()
    expect((await second).replaces).toBe((await first).number)
    await expectOneChain(room)
    await other.close()
  })

  it.each([
    ['comes into place once', 'harmless'],
    ['comes into place once, also when the batch it was found there in failed', 'poison'],
  ])('state that two processes set to the same at once %s', async (_sentence, said) => {
    const [room, elsewhere] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    const other = await testRooms(database)
    const there = (await other.stores.names.find(room.roomId))!
    const set = (by: RoomEngine, name: RoomName) =>
      by.rooms.send(name, { type: 'm.room.topic', stateKey: '', sender: alice, content: { topic: 'the same' } })
    const log = await holdLog()
    const first = set(other, there)
    await log.waiting(1)
    const second = set(engine, room)
    await log.waiting(2)
    const third = set(engine, room)
    const beside = say(engine, elsewhere, alice, said).catch(() => undefined)
    await log.letGo()
    const events = await Promise.all([first, second, third])
    await beside
    expect(new Set(events.map(({ number }) => number)).size).toBe(1)
    await expectOneChain(room)
    await other.close()
  })

  it('forgets what was refused, also when the batch it was refused in failed', async () => {
    const [room, elsewhere] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    await join(engine, room, bob)
    const other = await testRooms(database)
    const there = (await other.stores.names.find(room.roomId))!
    const log = await holdLog()
    const first = say(engine, elsewhere, alice, 'first')
    await log.waiting(1)
    const banned = ban(other, there)
    await log.waiting(2)
    const refused = Promise.allSettled([say(engine, room, bob, 'too late'), say(engine, elsewhere, alice, 'poison')])
    await eventually('it writes', () => engine.rooms.room(room).isBusy)
    await log.letGo()
    await Promise.all([first, banned])
    expect((await refused).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(engine.rooms.room(room).isBusy).toBe(false)
    await other.rooms.changeMembership(there, alice, bob, { membership: 'leave' })
    await join(other, there, bob)
    await say(engine, room, alice, 'on with it')
    await expectOneChain(room)
    await other.close()
  })
})

describe('what is stored while the database is asked for what is around an event', () => {
  const bobElsewhere = '@bob:two.example'
  /** Bob's secret, and its redaction, which can be taken in before it. */
  async function secretIn(roomName: string) {
    const { lab, name, other, there } = await ofOthers(roomName)
    const secret = lab.say(bobElsewhere, 'a secret')
    const redaction = lab.redact(bobElsewhere, secret)
    const state = [...lab.judged.get(secret.eventId).stateBefore.values()]
    const numbers = [...(await engine.stores.events.byIds(name.room, state)).values()].map(({ number }) => number)
    const told = { ...arrivalOf(redaction), stateAfter: new Map([[secret.eventId, numbers]]) }
    return { name, other, there, secret, told }
  }
  const kept = async (name: RoomName, eventId: string) => {
    const { rows } = await database.pool.query<{ body: string; redacted_by: number | null }>(
      'select body, redacted_by from event join event_text using (room, event) where room = $1 and event_id = $2',
      [name.room, eventId],
    )
    const waiting = await database.pool.query('select from waiting_redaction where room = $1', [name.room])
    const { body, redacted_by: by } = rows[0]!
    return { isWhole: body.includes('a secret'), isRedacted: by !== null, waiting: waiting.rowCount }
  }
  const redacted = { isWhole: false, isRedacted: true, waiting: 0 }

  it('redacts the event, when it is its redaction', async () => {
    const { name, other, secret, told } = await secretIn('redaction meanwhile')
    beforeTheLookIsAnswered(() => engine.rooms.receive(name, told))
    await engine.rooms.receive(name, arrivalOf(secret))
    expect(await kept(name, secret.eventId)).toEqual(redacted)
    await other.close()
  })

  it('is redacted, when the event is its redaction', async () => {
    const { name, other, secret, told } = await secretIn('target meanwhile')
    beforeTheLookIsAnswered(() => engine.rooms.receive(name, arrivalOf(secret)))
    await engine.rooms.receive(name, told)
    expect(await kept(name, secret.eventId)).toEqual(redacted)
    await other.close()
  })

  it('is the end of the room, when it stands on the event', async () => {
    const { name, other, secret, told } = await secretIn('child meanwhile')
    beforeTheLookIsAnswered(() => engine.rooms.receive(name, told))
    await engine.rooms.receive(name, arrivalOf(secret))
    expect((await engine.rooms.head(name)).extremities.map(({ event }) => event.eventId)).toEqual([told.event.eventId])
    await other.close()
  })

  it('is redacted when its place becomes known, if another process stored it without', async () => {
    const { name, other, there, secret, told } = await secretIn('outlier meanwhile')
    beforeTheLookIsAnswered(() => other.rooms.receive(there, { ...arrivalOf(secret), kind: 'outlier' }))
    await engine.rooms.receive(name, told)
    await engine.rooms.receive(name, arrivalOf(secret))
    expect(await kept(name, secret.eventId)).toEqual(redacted)
    await other.close()
  })
})

describe('a room of others that two processes make known at once', () => {
  const adoptBoth = async (first: LabEvent, second: LabEvent, version: string) => {
    const other = await testRooms(database)
    const log = await holdLog()
    const adopting = [engine.rooms.adopt(arrivalOf(first), version)]
    await log.waiting(1)
    adopting.push(other.rooms.adopt(arrivalOf(second), version))
    await log.waiting(2)
    await log.letGo()
    const [here, there] = await Promise.all(adopting)
    const heads = await Promise.all([engine.rooms.head(here!), other.rooms.head(there!)])
    await other.close()
    return heads.map(({ create }) => create!.event.eventId)
  }

  it('is one room', async () => {
    const room = labRoom({ version: '11', name: 'adopted-once' })
    const [create] = room.events
    expect(await adoptBoth(create!, create!, '11')).toEqual([create!.eventId, create!.eventId])
  })

  it('is the one that came first, where they were told of different ones', async () => {
    const [create] = labRoom({ version: '11', name: 'adopted-twice' }).events
    const [forged] = labRoom({ version: '11', name: 'adopted-twice', create: { forged: true } }).events
    expect(forged!.event.roomId).toBe(create!.event.roomId)
    expect(await adoptBoth(create!, forged!, '11')).toEqual([create!.eventId, create!.eventId])
  })
})
