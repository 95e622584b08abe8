import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { StatesForServers } from '../../src/room/states-for-servers.js'
import { eventually } from '../support/eventually.js'
import { startFederation } from '../support/federation.js'
import type { TestUser } from '../support/homeserver.js'
import { deviceKeys } from '../support/remote-users.js'

const [one, two] = await startFederation(2)
const alice = await one!.user('alice')
const members = [await one!.user('bob'), await one!.user('carol'), await one!.user('dave')]
const zoe = await two!.user('zoe')
const v3 = '/_matrix/client/v3'
const inRoom = (roomId: string, rest: string) => `${v3}/rooms/${encodeURIComponent(roomId)}/${rest}`
const lazy = encodeURIComponent(JSON.stringify({ room: { state: { lazy_load_members: true } } }))

interface SyncedEvent {
  readonly type: string
  readonly state_key?: string
  readonly content: { readonly body?: string }
}

const syncOf = (user: TestUser, query: string) => user.ok('GET', `${v3}/sync?${query}`)
const membersIn = (events: readonly SyncedEvent[]) =>
  events.flatMap(({ type, state_key }) => (type === 'm.room.member' ? [state_key] : [])).sort()
const bodiesIn = (events: readonly SyncedEvent[]) => events.flatMap(({ content }) => content.body ?? [])

/** The resident server does not say who is in a room until it is told to. */
function hold(): () => void {
  const { state } = StatesForServers.prototype
  let release!: () => void
  const released = new Promise<void>((resolve) => (release = resolve))
  jest.spyOn(StatesForServers.prototype, 'state').mockImplementation(async function (this: StatesForServers, ...asked) {
    await released
    return state.apply(this, asked)
  })
  return release
}

async function fullRoom(): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'public_chat', name: 'the market' })
  for (const member of members) await member.join(roomId)
  return roomId
}

const everybody = [alice, ...members, zoe].map(({ userId }) => userId).sort()

describe('a room whose members are still to come', () => {
  afterEach(() => void jest.restoreAllMocks())

  it('is there at once, reads and writes, and its members follow in a sync', async () => {
    const release = hold()
    const roomId = await fullRoom()
    await zoe.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    const first = await syncOf(zoe, '')
    const shown = first.rooms.join[roomId]
    expect(shown.summary['m.joined_member_count']).toBeUndefined()
    expect(shown.state.events.map(({ type }: SyncedEvent) => type)).toEqual(expect.arrayContaining(['m.room.name']))
    expect(membersIn([...shown.state.events, ...shown.timeline.events])).toEqual([zoe.userId])
    const firstLazily = await syncOf(zoe, `filter=${lazy}`)

    await zoe.say(roomId, 'am I here?')
    await members[0]!.say(roomId, 'you are')
    let since = first.next_batch
    const seen: SyncedEvent[] = []
    await eventually('zoe reads the answer', async () => {
      const { next_batch, rooms } = await syncOf(zoe, `since=${since}&timeout=500`)
      since = next_batch
      const { state, timeline } = rooms?.join?.[roomId] ?? { state: { events: [] }, timeline: { events: [] } }
      seen.push(...state.events, ...timeline.events)
      return bodiesIn(seen).includes('you are')
    })
    // Of whom the event tells.
    expect(membersIn(seen)).toContain(members[0]!.userId)
    const { body } = await alice.request('GET', inRoom(roomId, 'messages?dir=b&limit=5'))
    expect(bodiesIn(body.chunk)).toContain('am I here?')

    let answered = false
    const asked = zoe.ok('GET', inRoom(roomId, 'members')).finally(() => (answered = true))
    const joined = zoe.ok('GET', inRoom(roomId, 'joined_members'))
    expect((await zoe.request('GET', inRoom(roomId, 'state/m.room.name'))).status).toBe(200)
    expect(answered).toBe(false)
    release()
    expect(membersIn((await asked).chunk)).toEqual(everybody)
    expect(Object.keys((await joined).joined).sort()).toEqual(everybody)

    const after = (await syncOf(zoe, `since=${since}`)).rooms.join[roomId]
    expect(new Set([...membersIn([...seen, ...after.state.events]), zoe.userId])).toEqual(new Set(everybody))
    expect(after.summary['m.joined_member_count']).toBe(everybody.length)
    const lazily = await syncOf(zoe, `filter=${lazy}&since=${firstLazily.next_batch}`)
    expect(lazily.rooms.join[roomId].summary['m.joined_member_count']).toBe(everybody.length)
    expect(bodiesIn(lazily.rooms.join[roomId].timeline.events)).toEqual(['am I here?', 'you are'])
    const anew = (await syncOf(zoe, '')).rooms.join[roomId]
    expect(new Set(membersIn([...anew.state.events, ...anew.timeline.events]))).toEqual(new Set(everybody))
  })

  it('lets others of this server in when its members are here', async () => {
    const release = hold()
    const roomId = await fullRoom()
    await zoe.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    const yan = await two!.user()
    const joining = yan.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    release()
    await joining
    await eventually('alice sees yan', async () => {
      const { joined } = await alice.ok('GET', inRoom(roomId, 'joined_members'))
      return Object.keys(joined).length === everybody.length + 1
    })
  })

  it('hears what members who are still to come read and type, and whose devices changed meanwhile', async () => {
    const release = hold()
    const roomId = await fullRoom()
    const [bob, carol] = [members[0]!, members[1]!]
    const first = deviceKeys(bob.userId, bob.deviceId)
    await bob.ok('POST', `${v3}/keys/upload`, { device_keys: first })
    const eventId = await bob.say(roomId, 'before')
    await zoe.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    const query = () => zoe.ok('POST', `${v3}/keys/query`, { device_keys: { [bob.userId]: [] } })
    expect((await query()).device_keys[bob.userId][bob.deviceId].keys).toEqual(first.keys)
    let since = (await syncOf(zoe, '')).next_batch

    await bob.ok('PUT', inRoom(roomId, `typing/${encodeURIComponent(bob.userId)}`), { typing: true, timeout: 30_000 })
    const next = await alice.say(roomId, 'after')
    await carol.ok('POST', inRoom(roomId, `receipt/m.read/${encodeURIComponent(next)}`), {})
    await carol.ok('POST', inRoom(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`), { thread_id: 'main' })
    await bob.ok('PUT', `${v3}/devices/${bob.deviceId}`, { display_name: 'Phone' })
    const told: string[] = []
    const changed: string[] = []
    const listens = async () => {
      const { next_batch, rooms, device_lists } = await syncOf(zoe, `since=${since}&timeout=500`)
      since = next_batch
      told.push(JSON.stringify(rooms?.join?.[roomId]?.ephemeral ?? null))
      changed.push(...(device_lists?.changed ?? []))
    }
    await eventually('zoe hears of both', async () => {
      await listens()
      const all = told.join(' ')
      return all.includes(`"user_ids":["${bob.userId}"]`) && all.includes(`{"${next}":{"m.read":{"${carol.userId}"`)
    })
    expect(changed).not.toContain(bob.userId)
    release()
    await eventually('zoe hears of the devices', async () => {
      await listens()
      return changed.includes(bob.userId)
    })
    expect((await query()).device_keys[bob.userId][bob.deviceId].unsigned).toEqual({ device_display_name: 'Phone' })
  })

  it('can be left', async () => {
    const release = hold()
    const roomId = await fullRoom()
    await zoe.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    await zoe.ok('POST', inRoom(roomId, 'leave'), {})
    await eventually('alice sees it', async () => {
      const { joined } = await alice.ok('GET', inRoom(roomId, 'joined_members'))
      return !(zoe.userId in joined)
    })
    release()
    await zoe.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    expect(membersIn((await zoe.ok('GET', inRoom(roomId, 'members'))).chunk)).toEqual(everybody)
  })
})
