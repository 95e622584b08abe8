/**
 * The cross-room probe: a server that is in one room asks for what is in others, by every endpoint there is and every
 * combination of ids. A new endpoint is asked without being named here; one with a new kind of parameter makes this fail
 * until it is said what to put there.
 */
import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { routes } from '../../src/server-server/routes.js'
import { HostilePeer, startWithHostilePeer } from '../support/hostile-peer.js'
import type { Branch, LabEvent } from '../support/laboratory/index.js'
import { TestClient } from '../support/http.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer()
const other = await HostilePeer.start(authority, hearth)
const [mia, max] = [await hearth.user('mia'), await hearth.user('max')]

/** In every content of the rooms that are none of the peer's business. */
const secret = 'nobody-else-may-read-this'
const content: JsonObject = { body: secret, name: secret, topic: secret, displayname: secret }

/** A room of another server, with events of every kind that an endpoint may come upon. */
async function secretRoom(version: string): Promise<Branch> {
  const room = await other.roomWith([mia], { version, levels: { users_default: 50 }, create: { secret } })
  const tips = room.tips
  room.event(other.eve, { type: 'm.room.name', stateKey: '', content })
  room.joinRules(other.eve, { join_rule: 'invite', [secret]: 1 })
  room.event(other.eve, { type: 'm.room.member', stateKey: other.eve, content: { ...content, membership: 'join' } })
  room.event(other.eve, { type: 'm.room.message', content })
  const refused = room.attempt(other.user('nobody'), { type: 'm.room.message', content })
  const texts = room.events.slice(room.events.indexOf(tips[0]!) + 1).map(({ text }) => text)
  await other.send([...texts, refused.text])
  await other.settled()
  return room
}

const versions = ['1', '11', '12']
const secretRooms = await Promise.all(versions.map(secretRoom))
const ours = await Promise.all(versions.map((version) => peer.roomWith([mia], { version })))
const local = await mia.createRoom({ preset: 'private_chat', name: secret, topic: secret, invite: [max.userId] })
const localEvents = [
  await mia.say(local, secret),
  ...(await mia.ok('GET', `/_matrix/client/v3/rooms/${encodeURIComponent(local)}/state`)).map(
    ({ event_id }: { event_id: string }) => event_id,
  ),
] as string[]
const alias = `#secret:${hearth.name}`

const roomIds = [...secretRooms, ...ours].map(({ roomId }) => roomId).concat(local)
const ends = (room: Branch): readonly LabEvent[] => [room.stateEvent('m.room.name')!, room.tips[0]!]
const theirEvents = secretRooms.flatMap((room) => room.events.map(({ eventId }) => eventId)).concat(localEvents)
const eventIds = [
  ...secretRooms.flatMap(ends).map(({ eventId }) => eventId),
  ...ours.map(({ tips }) => tips[0]!.eventId),
  localEvents[0]!,
]
const users = [peer.eve, other.eve, mia.userId, max.userId]

/** What is put where a parameter of a path has this name. */
const values: Readonly<Record<string, readonly string[]>> = {
  roomId: roomIds,
  eventId: eventIds,
  userId: users,
  serverName: [peer.name, other.name, hearth.name],
  queryType: ['directory', 'profile', 'event'],
  txnId: ['probe'],
}

const query = (eventId: string, userId: string): string =>
  [
    ['event_id', eventId],
    ['v', eventId],
    ['limit', '100'],
    ['ts', '0'],
    ['dir', 'f'],
    ['user_id', userId],
    ['room_alias', alias],
    ...['1', '11', '12'].map((version) => ['ver', version]),
    ['access_token', 'none'],
  ]
    .map(([name, value]) => `${name}=${encodeURIComponent(value!)}`)
    .join('&')

/** Bodies of all endpoints at once: which of the keys are looked at is theirs to say. */
const body = (eventId: string, userId: string): JsonObject => ({
  earliest_events: [],
  latest_events: [eventId],
  limit: 50,
  device_keys: { [userId]: [] },
  one_time_keys: { [userId]: { DEVICE: 'signed_curve25519' } },
  server_keys: { [hearth.name]: {} },
  room_version: '11',
  event: { room_id: secretRooms[1]!.roomId, event_id: eventId, sender: userId, type: 'm.room.member' },
  pdus: [],
  edus: [],
})

function* pathsOf(path: string): Generator<string> {
  const name = /:(\w+)/.exec(path)?.[1]
  if (name === undefined) return yield path
  const candidates = values[name]
  if (candidates === undefined) throw new Error(`what is put for :${name}?`)
  for (const value of candidates) yield* pathsOf(path.replace(`:${name}`, encodeURIComponent(value)))
}

/** Ids of events by which nobody could tell anything but their holder. */
function told(text: string): string[] {
  const ids = theirEvents.filter((eventId) => text.includes(JSON.stringify(eventId)))
  return text.includes(secret) ? [secret, ...ids] : ids
}

/** Every combination of what the path does not say already and is looked at. */
function* queriesOf({ method, parameterNames, readsQuery }: (typeof routes)[number]): Generator<[string, string]> {
  const isAsked = readsQuery || method !== 'get'
  const says = (...names: readonly string[]) => names.some((name) => parameterNames.includes(name))
  const events = isAsked && !says('eventId', 'userId') ? eventIds : eventIds.slice(0, 1)
  for (const eventId of events) for (const userId of says('roomId') ? users.slice(0, 1) : users) yield [eventId, userId]
}

/** What was told that should not have been; of many the first. */
async function probe(route: (typeof routes)[number]): Promise<string[]> {
  const method = route.method.toUpperCase()
  const leaks: string[] = []
  for (const path of route.paths.flatMap((pattern) => [...pathsOf(pattern)])) {
    for (const [eventId, userId] of queriesOf(route)) {
      const uri = `${path}?${query(eventId, userId)}`
      const answer = await peer.ask(method, uri, method === 'GET' ? {} : { content: body(eventId, userId) })
      if (answer.status >= 500) leaks.push(`${uri}: ${answer.status}`)
      leaks.push(...told(JSON.stringify(answer.body)).map((found) => `${uri}: ${found}`))
    }
  }
  return leaks.slice(0, 5)
}

describe('the rooms of others', () => {
  it('are in the Hearth, and hold what is looked for', async () => {
    for (const room of secretRooms) {
      const { body: known } = await other.ask(
        'GET',
        `/_matrix/federation/v1/event/${encodeURIComponent(room.tips[0]!.eventId)}`,
      )
      expect(told(JSON.stringify(known))).toContain(secret)
    }
  })

  it.each(routes.map((route) => [route.operationId, route] as const))(
    'are not told of by %s',
    async (_operationId, route) => expect(await probe(route)).toEqual([]),
  )

  it('are not told of by way of an event that names their events', async () => {
    const edges = (room: Branch, event: LabEvent): Json =>
      room.rules.version === '1' ? [event.eventId, { sha256: 'x' }] : event.eventId
    for (const [i, room] of ours.entries()) {
      const theirs = secretRooms[i]!
      const message = room.attempt(peer.eve, { type: 'm.room.message', content: { body: 'x' } })
      const chosen = (id: string) => (room.rules.version === '1' ? { event_id: `$${id}:${peer.name}` } : {})
      const forged = [
        { ...chosen('prev'), prev_events: theirs.tips.map((event) => edges(room, event)) },
        { ...chosen('auth'), auth_events: ends(theirs).map((event) => edges(room, event)) },
        { ...chosen('redacts'), type: 'm.room.redaction', redacts: theirs.tips[0]!.eventId },
        { ...chosen('content'), type: 'm.room.redaction', content: { redacts: theirs.tips[0]!.eventId } },
        // Where a server chooses ids, it may choose one that is in another room already.
        ...(room.rules.version === '1' ? [{ event_id: theirs.tips[0]!.eventId }] : []),
      ].map((changes) => peer.forged(room, message, changes))
      expect((await peer.send(forged.map(({ pdu }) => pdu))).status).toBe(200)
      await peer.settled()
      for (const { eventId } of forged) {
        const [at, of] = [encodeURIComponent(room.roomId), encodeURIComponent(eventId)]
        const v1 = '/_matrix/federation/v1'
        for (const uri of [
          `${v1}/event/${of}`,
          `${v1}/state/${at}?event_id=${of}`,
          `${v1}/state_ids/${at}?event_id=${of}`,
          `${v1}/event_auth/${at}/${of}`,
          `${v1}/backfill/${at}?v=${of}&limit=100`,
        ]) {
          const { body: answer } = await peer.ask('GET', uri)
          const own = new Set<unknown>(JSON.stringify(forged).match(/"\$[^"]+"/g))
          expect(told(JSON.stringify(answer)).filter((id) => !own.has(JSON.stringify(id)))).toEqual([])
        }
      }
    }
    // And what was redacted from the wrong room is still there.
    for (const room of secretRooms) {
      const { body: known } = await other.ask(
        'GET',
        `/_matrix/federation/v1/event/${encodeURIComponent(room.tips[0]!.eventId)}`,
      )
      expect(JSON.stringify(known)).toContain(secret)
    }
  })

  it('are told of to nobody who has not signed', async () => {
    const client = new TestClient(hearth.baseUrl)
    for (const { method, paths, auth, operationId } of routes) {
      if (auth !== 'signed-request') continue
      for (const pattern of paths) {
        const path = [...pathsOf(pattern)][0]!
        const answer = await client.request(
          method.toUpperCase(),
          `${path}?${query(eventIds[0]!, users[0]!)}`,
          method === 'get' ? undefined : body(eventIds[0]!, users[0]!),
        )
        expect([operationId, answer.status]).toEqual([operationId, 401])
      }
    }
  })

  it('made no fault show', () => expect(faults).toEqual([]))
})
