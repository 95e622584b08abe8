import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { TSchema } from 'typebox'
import { routes } from '../../src/client-server/routes.js'
import type { Endpoint } from '../../src/http/endpoint.js'
import { check } from '../../src/http/schema.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'
import type { Answer } from '../support/http.js'

/**
 * Bodies nobody should send, to every endpoint that takes one: the list is that of the server, and the fields are those of
 * its schemas. Mallory sends them from a room that alice is in, too; at the end alice syncs.
 */
const homeserver = await startTestHomeserver({ environment: { REGISTRATION_SHARED_SECRET: 'a secret for the test' } })
const alice = await homeserver.user('alice')
const mallory = await homeserver.user('mallory')
let room: string
let event: string

beforeAll(async () => {
  room = await mallory.createRoom({ preset: 'public_chat', room_version: '11' })
  await alice.join(room)
  event = await mallory.say(room, 'hello')
})

const withBody = routes.filter((endpoint) => endpoint.body !== undefined)
const json = withBody.filter(({ body }) => body!.format === 'json')
const named = (endpoints: readonly Endpoint<never>[]) =>
  endpoints.map((endpoint) => [endpoint.operationId, endpoint] as const)
type AnyEndpoint = (typeof routes)[number]

/** A path that leads to the handler: ids that exist, and names where clients choose them. */
function pathOf(endpoint: AnyEndpoint): string {
  const values: Record<string, string> = {
    roomId: room,
    roomIdOrAlias: room,
    userId: mallory.userId,
    eventId: event,
    receiptType: 'm.read',
    roomAlias: '#hostile:hearth.test',
    deviceId: mallory.deviceId,
    keyName: 'displayname',
  }
  return endpoint.paths[0]!.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] ?? 'm.test'))
}

const send = (endpoint: AnyEndpoint, body: string | Uint8Array): Promise<Answer> =>
  mallory.request(endpoint.method.toUpperCase(), pathOf(endpoint), body)

/** At once: it is quicker, and races are welcome. */
const all = <T>(values: readonly T[], task: (value: T) => Promise<void>) => Promise.all(values.map(task))

const outcome = ({ status, body }: Answer) => [status, body.errcode]

const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

describe.each(named(json as never))('%s', (_operationId, declared) => {
  const endpoint = declared as unknown as AnyEndpoint

  // Other endpoints have made mallory leave.
  beforeEach(() => mallory.join(room))

  it.each<[string, string | Uint8Array, string]>([
    ['that is a list', '[]', 'M_BAD_JSON'],
    ['that is a text', '"{}"', 'M_BAD_JSON'],
    ['that is null', 'null', 'M_BAD_JSON'],
    ['that is cut off', '{"a":', 'M_NOT_JSON'],
    ['that is a form', 'a=b&c=d', 'M_NOT_JSON'],
    ['that is not UTF-8', Buffer.from('7b2261223a22ff227d', 'hex'), 'M_NOT_JSON'],
    ['with half a surrogate pair', '{"a":"\\ud800"}', 'M_BAD_JSON'],
    ['with a key twice', '{"a":1,"a":2}', 'M_BAD_JSON'],
    ['that is nested 9,000 times', nested(9_000), 'M_BAD_JSON'],
  ])('refuses a body %s', async (_what, body, errcode) => {
    expect(outcome(await send(endpoint, body))).toEqual([400, errcode])
  })

  it('refuses a body that is too large', async () => {
    const { limit } = endpoint.body!
    expect(outcome(await send(endpoint, `{"a":"${'x'.repeat(limit)}"}`))).toEqual([413, 'M_TOO_LARGE'])
  })

  it('takes no body for an empty object only where clients send none', async () => {
    const answer = await send(endpoint, '')
    if (endpoint.body!.emptyAllowed) expect(answer.status).toBeLessThan(500)
    else expect(outcome(answer)).toEqual([400, 'M_NOT_JSON'])
  })

  it('refuses each field in a wrong type, and says which', async () => {
    for (const { path, schema } of fieldsOf(endpoint.body!.schema)) {
      await all(
        odd.filter((value) => !accepts(schema, value)),
        async (value) => {
          const { status, body } = await send(endpoint, JSON.stringify(withValue(endpoint.body!.schema, path, value)))
          const sent = `${path.join('.')}=${JSON.stringify(value).slice(0, 40)}`
          expect([sent, status, body.errcode]).toEqual([sent, 400, 'M_BAD_JSON'])
          expect(body.error).toContain(String(path[0]))
        },
      )
    }
  })

  it('answers to each field in an odd value of the right type', async () => {
    for (const { path, schema } of fieldsOf(endpoint.body!.schema)) {
      await all(
        odd.filter((value) => accepts(schema, value)),
        async (value) => {
          const answer = await send(endpoint, JSON.stringify(withValue(endpoint.body!.schema, path, value)))
          const sent = `${path.join('.')}=${JSON.stringify(value).slice(0, 40)}`
          // 504: another server, which is not there.
          expect([sent, answer.status < 500 || answer.status === 504]).toEqual([sent, true])
          if (answer.status >= 400) expect(typeof answer.body).toBe('object')
        },
      )
    }
  })
})

describe.each(named(withBody.filter(({ body }) => body!.format === 'form') as never))('%s', (_id, declared) => {
  const endpoint = declared as unknown as AnyEndpoint

  it.each<[string, string | Uint8Array]>([
    ['that is JSON', '{"username":1}'],
    ['that is not UTF-8', Buffer.from([0xff, 0xfe])],
    ['without what is asked for', 'a=b'],
    ['with U+0000 in every field', 'username=%00&password=%00&token=%00'],
  ])('refuses a form %s', async (_what, body) => {
    const { status } = await send(endpoint, body)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(500)
  })
})

/** What handlers look into without a schema: a body that is right, and the places in it that become odd. */
const byHand: readonly [operationId: string, body: object, places: readonly string[]][] = [
  [
    'login',
    { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'mallory' }, password: 'wrong' },
    ['type', 'identifier', 'identifier.type', 'identifier.user', 'user', 'password', 'device_id'],
  ],
  ['register', { username: 'new', password: 'x', auth: {} }, ['auth', 'auth.type', 'auth.session', 'auth.token']],
  [
    'deleteDevices',
    { devices: ['NONE'], auth: { type: 'm.login.password', password: 'wrong' } },
    ['auth', 'auth.type', 'auth.session', 'auth.password', 'auth.user', 'auth.identifier', 'auth.identifier.user'],
  ],
  ['setProfileField', {}, ['displayname']],
  ['setAccountData', {}, ['content']],
  ['setAccountDataPerRoom', {}, ['content']],
  ['setRoomTag', {}, ['content']],
  [
    'defineFilter',
    {},
    [
      'event_fields',
      'event_format',
      'presence',
      'account_data',
      'room',
      'room.rooms',
      'room.not_rooms',
      'room.state',
    ].concat(
      [
        'room.timeline',
        'room.timeline.limit',
        'room.timeline.types',
        'room.timeline.not_senders',
        'room.include_leave',
      ],
      ['room.state.lazy_load_members', 'room.timeline.contains_url', 'room.ephemeral', 'room.account_data.types'],
    ),
  ],
  [
    'sendMessage',
    { msgtype: 'm.text', body: 'x' },
    ['msgtype', 'body', 'redacts', 'membership', 'm.mentions', 'm.mentions.user_ids', 'm.mentions.room'].concat([
      'm.relates_to',
      'm.relates_to.event_id',
      'm.relates_to.rel_type',
      'm.relates_to.m.in_reply_to',
    ]),
  ],
  [
    'createRoom',
    { preset: 'public_chat' },
    ['creation_content.type', 'creation_content.predecessor', 'creation_content.additional_creators'].concat(
      ['creation_content.m.federate', 'creation_content.room_version', 'creation_content.creator'],
      ['power_level_content_override.users', 'power_level_content_override.events'],
      ['power_level_content_override.users_default', 'power_level_content_override.notifications'],
    ),
  ],
]

describe.each(byHand)('%s', (operationId, base, places) => {
  it.each(places)('answers to odd values of %s', async (place) => {
    const endpoint = json.find((one) => one.operationId === operationId)!
    await mallory.join(room)
    await all(odd, async (value) => {
      const body = JSON.stringify(replaced(base, place.split('.'), value))
      const answer = await send(endpoint, body)
      const sent = body.slice(0, 200)
      expect([sent, answer.status < 500]).toEqual([sent, true])
      if (answer.status >= 400) expect(typeof answer.body).toBe('object')
    })
  })
})

function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by
  const object = (value ?? {}) as Record<string, unknown>
  return { ...object, [key]: replaced(object[key], rest, by) }
}

/** Values of every type, among them those that servers like this one have stumbled over. */
const odd: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  Number.MAX_SAFE_INTEGER,
  1e300,
  '',
  '\0',
  'a\0b',
  '__proto__',
  '💥'.repeat(100),
  'x'.repeat(70_000),
  '@mallory:hearth.test',
  '@nobody:example.org',
  `!${'a'.repeat(43)}`,
  [],
  [null],
  [[]],
  ['\0'],
  {},
  { a: null },
  { '\0': '\0' },
  JSON.parse('{"__proto__":{"a":1},"constructor":1}'),
  { '@mallory:hearth.test': ['\0'] },
  { '@mallory:hearth.test': { '\0': '\0' } },
  { '@mallory:hearth.test': { '*': {} } },
]

const accepts = (schema: TSchema, value: unknown): boolean => {
  try {
    check('body', schema)(value)
    return true
  } catch {
    return false
  }
}

interface Shape {
  type?: string
  properties?: Record<string, TSchema>
  required?: string[]
  items?: TSchema
  additionalProperties?: TSchema | boolean
  anyOf?: TSchema[]
  enum?: unknown[]
  const?: unknown
  format?: string
  minLength?: number
  minItems?: number
  pattern?: string
}

interface Field {
  readonly path: readonly string[]
  readonly schema: TSchema
}

/** Every field a schema speaks of, those inside of lists and maps included, under a key of our choice. */
function fieldsOf(schema: TSchema, path: readonly string[] = []): Field[] {
  const shape = schema as Shape
  const inner: [string, TSchema][] = Object.entries(shape.properties ?? {})
  if (shape.items !== undefined) inner.push(['0', shape.items])
  if (typeof shape.additionalProperties === 'object') inner.push(['@mallory:hearth.test', shape.additionalProperties])
  return [
    ...inner.flatMap(([key, property]) => [
      { path: [...path, key], schema: property },
      ...fieldsOf(property, [...path, key]),
    ]),
    ...(shape.anyOf ?? []).flatMap((one) => fieldsOf(one, path)),
  ]
}

/** The least value a schema takes, with another one at a place in it. */
function withValue(schema: TSchema, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value
  const shape = schema as Shape
  if (shape.anyOf !== undefined) {
    const inside = shape.anyOf.find((one) => inner(one, key) !== undefined)!
    return withValue(inside, [key, ...rest], value)
  }
  const changed = withValue(inner(schema, key)!, rest, value)
  if (shape.items !== undefined) return [changed]
  return { ...(least(schema) as object), ...Object.fromEntries([[key, changed]]) }
}

function inner(schema: TSchema, key: string): TSchema | undefined {
  const { properties, items, additionalProperties } = schema as Shape
  return properties?.[key] ?? items ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined)
}

function least(schema: TSchema): unknown {
  const shape = schema as Shape
  if (shape.const !== undefined) return shape.const
  if (shape.enum !== undefined) return shape.enum[0]
  if (shape.anyOf !== undefined) return least(shape.anyOf[0]!)
  switch (shape.type) {
    case 'object':
      return Object.fromEntries((shape.required ?? []).map((key) => [key, least(shape.properties![key]!)]))
    case 'array':
      return shape.minItems === undefined ? [] : [least(shape.items!)]
    case 'string':
      return leastText(shape)
    case 'boolean':
      return false
    default:
      return 1
  }
}

function leastText({ format, minLength = 0 }: Shape): string {
  switch (format) {
    case 'mx-user-id':
      return mallory.userId
    case 'mx-room-id':
      return room
    case 'mx-room-alias':
      return '#hostile:hearth.test'
    case 'mx-event-id':
      return event
    case 'mx-server-name':
      return 'hearth.test'
    default:
      return 'x'.repeat(minLength)
  }
}

describe('state of any shape', () => {
  const types = [
    'm.room.name',
    'm.room.topic',
    'm.room.avatar',
    'm.room.canonical_alias',
    'm.room.guest_access',
    'm.room.encryption',
    'm.room.pinned_events',
    'm.room.server_acl',
    'm.room.third_party_invite',
    'm.room.member',
    'm.room.tombstone',
    'm.space.child',
    'm.room.join_rules',
    'm.room.power_levels',
    'm.room.history_visibility',
  ]
  const keys = ['name', 'topic', 'url', 'alias', 'alt_aliases', 'membership', 'displayname', 'avatar_url', 'reason']
  const more = ['join_rule', 'allow', 'history_visibility', 'users', 'events', 'ban', 'notifications', 'm.relates_to']

  const versions = ['1', '12']
  const cases = versions.flatMap((version) => types.map((type) => [type, version] as const))

  it.each(cases)('%s in version %s is taken or refused', async (type, version) => {
    const other = await mallory.createRoom({ preset: 'public_chat', room_version: version })
    await alice.join(other)
    const stateKey = type === 'm.room.member' ? mallory.userId : ''
    await all(odd, async (value) => {
      const content = Object.fromEntries([...keys, ...more].map((key) => [key, value]))
      const path = `/_matrix/client/v3/rooms/${other}/state/${type}/${encodeURIComponent(stateKey)}`
      for (const body of [content, { ...content, membership: 'join' }]) {
        const { status } = await mallory.put(path, body)
        expect([JSON.stringify(value).slice(0, 40), status < 500]).toEqual([JSON.stringify(value).slice(0, 40), true])
      }
    })
  })
})

describe('afterwards', () => {
  it('the server lives, and what alice does and reads is as ever', async () => {
    expect((await alice.get('/_matrix/client/versions')).status).toBe(200)
    const mine = await alice.createRoom()
    const said = await alice.say(mine, 'still here')
    const { rooms, next_batch } = await alice.sync()
    expect(rooms.join[mine].timeline.events.at(-1).event_id).toBe(said)
    for (const joined of Object.keys(rooms.join)) await readsAll(alice, joined)
    await alice.ok('GET', '/_matrix/client/v3/publicRooms')
    const again = await alice.say(mine, 'and here')
    const next = await alice.sync({ since: next_batch })
    expect(next.rooms.join[mine].timeline.events.map((one: { event_id: string }) => one.event_id)).toEqual([again])
    await mallory.sync({ full_state: true })
  })
})

async function readsAll(user: TestUser, joined: string): Promise<void> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(joined)}`
  await user.ok('GET', `${path}/state`)
  await user.ok('GET', `${path}/members`)
  await user.ok('GET', `${path}/joined_members`)
  await user.ok('GET', `${path}/messages?dir=b&limit=1000`)
}
