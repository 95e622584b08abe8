/** Numbers out of every range, and texts that a database refuses, in what a peer asks: it is answered or refused, and no fault. */
import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { path } from '../support/handshake.js'
import { startWithHostilePeer } from '../support/hostile-peer.js'

const { hearth, peer, faults } = await startWithHostilePeer()
const mia = await hearth.user('mia')
const room = await peer.roomWith([mia])
const { roomId } = room
const last = room.tips[0]!.eventId

const texts = ['\0', 'a\0b', '__proto__', 'x'.repeat(3_000)]
const ids = texts.map((text) => `$${text}`)
const users = texts.map((text) => `@${text}:${hearth.name}`)
const numbers = [1e300, -1e300, 2 ** 53, -(2 ** 63), 2 ** 63, -1, 0]
const digits = ['9999999999999999', '-9999999999999999', '99999999999999999999', '-1', '1e5', '']
const escaped = (text: string) => encodeURIComponent(text)
const of = (name: string, values: readonly string[]) => values.map((value) => `${name}=${escaped(value)}`)

const get = (base: string, queries: readonly string[]) => queries.map((query) => ['GET', `${base}?${query}`] as const)
const post = (uri: string, contents: readonly JsonObject[]) =>
  contents.map((content) => ['POST', uri, content] as const)
type Question = readonly [method: string, uri: string, content?: JsonObject]

const gap = { earliest_events: [], latest_events: [last] }
const questions: Record<string, readonly Question[]> = {
  get_missing_events: post(path('v1', 'get_missing_events', roomId), [
    ...numbers.flatMap((number) => [
      { ...gap, limit: number },
      { ...gap, min_depth: number },
    ]),
    { earliest_events: ids, latest_events: ids },
    { earliest_events: Array<Json>(5_000).fill(last), latest_events: Array<Json>(5_000).fill(last) },
  ]),
  backfill: get(path('v1', 'backfill', roomId), [
    ...of('limit', digits).map((limit) => `v=${escaped(last)}&${limit}`),
    ...of('v', ids).map((v) => `${v}&limit=10`),
  ]),
  timestamp_to_event: get(
    path('v1', 'timestamp_to_event', roomId),
    of('ts', digits).flatMap((ts) => [`${ts}&dir=f`, `${ts}&dir=b`]),
  ),
  state: get(path('v1', 'state', roomId), of('event_id', ids)),
  state_ids: get(path('v1', 'state_ids', roomId), of('event_id', ids)),
  event: ids.map((id) => ['GET', path('v1', 'event', id)]),
  event_auth: ids.map((id) => ['GET', path('v1', 'event_auth', roomId, id)]),
  hierarchy: texts.map((text) => ['GET', path('v1', 'hierarchy', `!${text}`)]),
  make: ['join', 'leave', 'knock'].flatMap((kind) =>
    texts.map((text): Question => {
      const who = peer.user(text)
      return ['GET', `${path('v1', `make_${kind}`, roomId, who)}?ver=${escaped(text)}`]
    }),
  ),
  public_rooms: [
    ...get('/_matrix/federation/v1/publicRooms', [...of('limit', digits), ...of('since', [...texts, ...digits])]),
    ...post('/_matrix/federation/v1/publicRooms', [
      ...numbers.map((limit) => ({ limit })),
      ...texts.flatMap((text) => [
        { since: text },
        { filter: { generic_search_term: text } },
        { filter: { room_types: [text, null] } },
      ]),
    ]),
  ],
  profile: get('/_matrix/federation/v1/query/profile', [
    ...of('user_id', users),
    ...of('field', texts).map((field) => `user_id=${escaped(mia.userId)}&${field}`),
  ]),
  directory: get(
    '/_matrix/federation/v1/query/directory',
    of(
      'room_alias',
      texts.map((text) => `#${text}:${hearth.name}`),
    ),
  ),
  devices: users.map((user) => ['GET', path('v1', 'user', 'devices', user)]),
  keys_query: post(path('v1', 'user', 'keys', 'query'), [
    { device_keys: Object.fromEntries(users.map((user) => [user, []])) },
    { device_keys: { [mia.userId]: texts } },
  ]),
  keys_claim: post(path('v1', 'user', 'keys', 'claim'), [
    { one_time_keys: Object.fromEntries(users.map((user) => [user, { [mia.deviceId]: 'signed_curve25519' }])) },
    { one_time_keys: { [mia.userId]: Object.fromEntries(texts.map((text) => [text, text])) } },
    { one_time_keys: { [mia.userId]: { [mia.deviceId]: '\0' } } },
  ]),
  server_keys: [
    ...get(`/_matrix/key/v2/query/${peer.name}`, of('minimum_valid_until_ts', digits)),
    ...texts.map((text): Question => ['GET', `/_matrix/key/v2/query/${escaped(text)}`]),
    ...post('/_matrix/key/v2/query', [
      ...numbers.map((at) => ({ server_keys: { [peer.name]: { 'ed25519:a': { minimum_valid_until_ts: at } } } })),
      { server_keys: Object.fromEntries(texts.map((text) => [text, { [text]: {} }])) },
    ]),
  ],
  openid: get('/_matrix/federation/v1/openid/userinfo', of('access_token', texts)),
  transaction: texts.map((text) => ['PUT', path('v1', 'send', text), { pdus: [], edus: [] }]),
  membership: ['v1/send_knock', 'v2/send_join', 'v2/send_leave', 'v1/invite', 'v2/invite'].flatMap((which) =>
    ids.map((id): Question => ['PUT', path(...which.split('/'), roomId, id), { type: 'm.room.member' }]),
  ),
}

describe('what a peer asks', () => {
  it.each(Object.entries(questions))('with odd numbers and texts makes no fault: %s', async (_name, all) => {
    const before = faults.length
    for (const [method, uri, content] of all) {
      const { status } = await peer.ask(method, uri, content === undefined ? {} : { content })
      expect([uri, content, status < 500]).toEqual([uri, content, true])
    }
    expect(faults.slice(before)).toEqual([])
  })
})
