import { randomBytes } from 'node:crypto'
import { afterAll, describe, expect, it } from '@jest/globals'
import { routes } from '../../src/client-server/routes.js'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { insertRegistrationToken } from '../../src/store/registration-tokens.js'
import { startTestHomeserver } from '../support/homeserver.js'
import { ScriptedRemote } from '../support/scripted-remote.js'
import type { TestUser } from '../support/test-user.js'
import { Conformance } from './conformance.js'
import { additions, authExceptions, exceptions, ours } from './exceptions.js'
import { deviceKeys, oneTimeKey } from './keys.js'
import { inRoom, ofUser, password, Recording, v3 } from './recording.js'
import { Specification, specificationFolder } from './specification.js'

/**
 * What the server answers, held against the specification's OpenAPI files: statuses, bodies, the events in them, and keys
 * the specification does not have. People meet, talk and leave, and some of what they try is refused.
 */

const folder = specificationFolder()
if (folder === undefined) console.warn('No check against the specification: SPEC_OPENAPI names no folder that holds it')
const inCase = folder === undefined ? describe.skip : describe

const specification = folder === undefined ? undefined! : new Specification(folder, 'client-server', additions)
const conformance = new Conformance(specification, exceptions, routes)
const declared = routes.filter(({ operationId }) => !ours.includes(operationId))

inCase('the endpoints', () => {
  it('are those of the specification, or few others', () => {
    const unknown = routes.filter(({ operationId }) => !specification.operations.has(operationId))
    expect(unknown.map(({ operationId }) => operationId)).toEqual(ours)
  })

  it.each(declared.map((endpoint) => [endpoint.operationId, endpoint] as const))('%s', (operationId, endpoint) => {
    const operation = specification.operations.get(operationId)!
    expect({ method: endpoint.method, path: endpoint.paths[0], auth: endpoint.auth }).toEqual({
      method: operation.method,
      path: operation.path,
      auth: authExceptions[operationId] ?? operation.auth,
    })
  })
})

const exercised = new Set<string | undefined>()

/** A scenario, after which all that the server answered is checked. */
function conforms(name: string, scenario: (recording: Recording) => Promise<void>, server = homeserver): void {
  it(name, async () => {
    const recording = new Recording((await server).baseUrl)
    await scenario(recording)
    const answered = recording.exchanges.filter(({ answer }) => answer.status === 200)
    answered.forEach((exchange) => exercised.add(conformance.operationOf(exchange)))
    expect(conformance.faultsOf(recording.exchanges)).toEqual([])
  })
}

const start = (environment: Readonly<Record<string, string>> = {}) =>
  folder === undefined
    ? new Promise<never>(() => undefined)
    : startTestHomeserver({ environment, remote: new ScriptedRemote() })
const homeserver = start({ PRESENCE: 'local' })
const closed = start({ REGISTRATION: 'closed' })
const limited = start({ RATE_LIMITS: 'on' })
const byToken = start({ REGISTRATION: 'token' })
if (folder !== undefined) await Promise.all([homeserver, closed, limited, byToken])

const everything = { room: { timeline: { limit: 100 }, include_leave: true } }
const passwordOf = ({ userId }: TestUser, text = password) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: userId },
  password: text,
})

/** Two people in a room. */
async function meet(recording: Recording): Promise<{ alice: TestUser; bob: TestUser; room: string }> {
  const [alice, bob] = [await recording.user('alice'), await recording.user('bob')]
  const room = await alice.createRoom({ preset: 'public_chat', name: 'Meeting', topic: 'Talk' })
  await bob.join(room)
  return { alice, bob, room }
}

inCase('the check', () => {
  const answered = (path: string, status: number, body: object, type = 'application/json') =>
    conformance.faultsOf([
      { method: 'GET', path: v3 + path, answer: { status, body, headers: new Headers({ 'content-type': type }) } },
    ])
  const create = { type: 'm.room.create', state_key: '', content: { room_version: 12, owner: '@alice:hearth.test' } }
  const event = { ...create, event_id: '$a', sender: '@alice:hearth.test', origin_server_ts: 1, room_id: '!a' }

  it.each<[string, () => string[], string[]]>([
    [
      'a wrong type',
      () => answered('/login', 200, { flows: [{ type: 1 }] }),
      ['getLoginFlows 200: /flows/0/type must be string'],
    ],
    [
      'a key that is not there',
      () => answered('/account/whoami', 200, {}),
      ["getTokenOwner 200:  must have required property 'user_id'"],
    ],
    [
      'a misspelt key',
      () => answered('/login', 200, { flow: [] }),
      ['getLoginFlows 200: /flow is not in the specification'],
    ],
    [
      'a status nobody expects',
      () => answered('/login', 204, {}),
      ['getLoginFlows 204: is no answer that the specification knows'],
    ],
    [
      'an error without a code',
      () => answered('/sync', 404, { error: 'No' }),
      ["sync 404:  must have required property 'errcode'", 'sync 404: has no errcode, or no error to read'],
    ],
    [
      'an answer that is a page',
      () => answered('/login', 200, {}, 'text/html'),
      ['getLoginFlows 200: is not application/json'],
    ],
    [
      'an event that is not as its type is',
      () => answered('/rooms/!a/event/$a', 200, event),
      [
        'getOneRoomEvent 200: m.room.create: /content/room_version must be string',
        'getOneRoomEvent 200: m.room.create: /content/owner is not in the specification',
      ],
    ],
  ])('finds %s', (_what, faults, expected) => expect(faults()).toEqual(expected))
})

inCase('the answers about the server', () => {
  conforms('to anybody', async (recording) => {
    const anybody = recording.client()
    await anybody.get('/_matrix/client/versions')
    await anybody.get('/.well-known/matrix/client')
    await anybody.get(`${v3}/login`)
    await anybody.get(`${v3}/nothing/here`)
    await anybody.request('PATCH', `${v3}/login`)
    await anybody.delete(`${v3}/sync`)
    await anybody.get(`${v3}/account/whoami`)
    await recording.client('not-a-token').get(`${v3}/account/whoami`)
    await anybody.get(`${v3}/rooms/%ff/state`)
  })

  conforms('to a user', async (recording) => {
    const alice = await recording.user('alice')
    await alice.get(`${v3}/capabilities`)
    await alice.get(`${v3}/voip/turnServer`)
    await alice.get(`${v3}/account/3pid`)
    await alice.get(`${v3}/pushers`)
    await alice.get(`${v3}/thirdparty/protocols`)
    await alice.get(`${v3}/account/whoami`)
    await alice.get('/_matrix/client/versions')
    await alice.get('/_matrix/client/r0/capabilities')
  })
})

inCase('the answers about accounts', () => {
  conforms('that are made', async (recording) => {
    const anybody = recording.client()
    const username = `carol-${randomBytes(4).toString('hex')}`
    await anybody.get(`${v3}/register/available?username=${username}`)
    await anybody.post(`${v3}/register`, { username, password })
    await anybody.post(`${v3}/register`, { username, password, auth: { type: 'm.login.dummy' }, inhibit_login: true })
    await anybody.get(`${v3}/register/available?username=${username}`)
    await anybody.get(`${v3}/register/available?username=Not%20a%20name`)
    await anybody.get(`${v3}/register/available`)
    await anybody.post(`${v3}/register`, { username, password, auth: { type: 'm.login.dummy' } })
    await anybody.post(`${v3}/register`, { username: 'A B', password, auth: { type: 'm.login.dummy' } })
    await anybody.post(`${v3}/register`, { password, auth: { type: 'm.login.nothing' } })
    await anybody.post(`${v3}/register?kind=guest`, {})
    await anybody.get('/_matrix/client/v1/register/m.login.registration_token/validity?token=abc')
    await anybody.post(`${v3}/register`, '{')
    await anybody.post(`${v3}/register`, { username: 1 })
  })

  conforms(
    'where registration is closed',
    async (recording) => {
      const anybody = recording.client()
      await anybody.post(`${v3}/register`, { username: 'carol', password })
      await anybody.get(`${v3}/register/available?username=carol`)
      await anybody.get('/_matrix/client/v1/register/m.login.registration_token/validity?token=abc')
    },
    closed,
  )

  conforms(
    'where it takes a token',
    async (recording) => {
      const { db } = (await byToken).database
      await insertRegistrationToken(db, { token: 'good', usesAllowed: 1, expiresTs: undefined }, Date.now())
      const anybody = recording.client()
      const account = { username: 'carol', password }
      const validity = '/_matrix/client/v1/register/m.login.registration_token/validity'
      const type = 'm.login.registration_token'
      await anybody.get(`${validity}?token=good`)
      await anybody.get(`${validity}?token=bad`)
      const { session } = (await anybody.post(`${v3}/register`, account)).body
      await anybody.post(`${v3}/register`, { ...account, auth: { type, session, token: 'bad' } })
      recording.loggedIn(await anybody.post(`${v3}/register`, { ...account, auth: { type, session, token: 'good' } }))
    },
    byToken,
  )

  conforms('that are logged in to and out of', async (recording) => {
    const alice = await recording.user('alice')
    const anybody = recording.client()
    const device = { device_id: 'PHONE', initial_device_display_name: 'Phone' }
    const again = recording.loggedIn(await anybody.post(`${v3}/login`, { ...passwordOf(alice), ...device }))
    await anybody.post(`${v3}/login`, passwordOf(alice, 'wrong'))
    await anybody.post(`${v3}/login`, { type: 'm.login.nothing' })
    await anybody.post(`${v3}/login`, { type: 'm.login.password', password })
    await again.post(`${v3}/logout`)
    await again.get(`${v3}/account/whoami`)

    const change = { new_password: 'another secret', logout_devices: false }
    const { session } = (await alice.post(`${v3}/account/password`, change)).body
    await alice.post(`${v3}/account/password`, { ...change, auth: { ...passwordOf(alice, 'wrong'), session } })
    await alice.ok('POST', `${v3}/account/password`, { ...change, auth: { ...passwordOf(alice), session } })
    await alice.ok('POST', `${v3}/logout/all`)
  })

  conforms(
    'when there are too many requests',
    async (recording) => {
      const anybody = recording.client()
      const guess = () => anybody.post(`${v3}/login`, { type: 'm.login.password', user: 'nobody', password })
      for (let status = 0, tries = 0; status !== 429 && tries < 50; tries++) status = (await guess()).status
      expect(recording.exchanges.at(-1)!.answer.status).toBe(429)
    },
    limited,
  )
})

inCase('the answers about what users have', () => {
  conforms('devices', async (recording) => {
    const alice = await recording.user('alice')
    const logIn = async (device_id: string) =>
      recording.loggedIn(await recording.client().post(`${v3}/login`, { ...passwordOf(alice), device_id }))
    const [phone] = [await logIn('PHONE'), await logIn('TABLET'), await logIn('DESK')]
    await phone.sync()
    await alice.get(`${v3}/devices`)
    await alice.get(`${v3}/devices/PHONE`)
    await alice.ok('PUT', `${v3}/devices/PHONE`, { display_name: 'Phone' })
    await alice.get(`${v3}/devices/PHONE`)
    await alice.get(`${v3}/devices/OTHER`)
    await alice.put(`${v3}/devices/OTHER`, { display_name: 'Other' })
    const { session } = (await alice.delete(`${v3}/devices/PHONE`)).body
    await alice.ok('DELETE', `${v3}/devices/PHONE`, { auth: { ...passwordOf(alice), session } })
    await alice.post(`${v3}/delete_devices`, { devices: ['TABLET', 'DESK'] })
    await alice.ok('POST', `${v3}/delete_devices`, { devices: ['TABLET', 'DESK'], auth: passwordOf(alice) })
    await alice.get(`${v3}/devices`)
  })

  conforms('profiles', async (recording) => {
    const { alice, bob } = await meet(recording)
    const profile = `${v3}/profile/${encodeURIComponent(alice.userId)}`
    await bob.get(profile)
    await alice.ok('PUT', `${profile}/displayname`, { displayname: 'Alice' })
    await alice.ok('PUT', `${profile}/avatar_url`, { avatar_url: 'mxc://hearth.test/abc' })
    await alice.ok('PUT', `${profile}/m.tz`, { 'm.tz': 'Europe/London' })
    await bob.get(profile)
    await recording.client().get(profile)
    await bob.get(`${profile}/displayname`)
    await bob.get(`${profile}/m.tz`)
    await bob.get(`${profile}/org.example.nothing`)
    await bob.get(`${v3}/profile/@nobody:hearth.test`)
    await bob.put(`${profile}/displayname`, { displayname: 'Not Alice' })
    await alice.put(`${profile}/avatar_url`, { avatar_url: 'https://example.org' })
    await alice.put(`${profile}/displayname`, {})
    await alice.put(`${profile}/${'x'.repeat(256)}`, {})
    await alice.put(`${profile}/org.example.large`, { 'org.example.large': 'x'.repeat(65_536) })
    await alice.ok('DELETE', `${profile}/m.tz`)
    await alice.ok('DELETE', `${profile}/avatar_url`)
    await bob.sync()
    await bob.post(`${v3}/user_directory/search`, { search_term: 'alice', limit: 1 })
    await bob.post(`${v3}/user_directory/search`, { search_term: 'ali', limit: 50 })
    await bob.post(`${v3}/user_directory/search`, {})
  })

  conforms('account data and tags', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const since = await alice.syncToken()
    const perRoom = ofUser(alice, `/rooms/${encodeURIComponent(room)}`)
    await alice.ok('PUT', ofUser(alice, '/account_data/m.direct'), { [bob.userId]: [room] })
    await alice.get(ofUser(alice, '/account_data/m.direct'))
    await alice.get(ofUser(alice, '/account_data/m.push_rules'))
    await alice.get(ofUser(alice, '/account_data/org.example.nothing'))
    await alice.get(ofUser(bob, '/account_data/m.direct'))
    await alice.put(ofUser(alice, '/account_data/m.fully_read'), {})
    await alice.put(ofUser(alice, '/account_data/m.direct'), '[]')
    await alice.ok('PUT', `${perRoom}/account_data/m.marked_unread`, { unread: true })
    await alice.get(`${perRoom}/account_data/m.marked_unread`)
    await alice.get(`${perRoom}/account_data/org.example.nothing`)
    await alice.put(`${perRoom}/account_data/m.fully_read`, {})
    await alice.get(`${perRoom}/tags`)
    await alice.ok('PUT', `${perRoom}/tags/m.favourite`, { order: 0.5 })
    await alice.ok('PUT', `${perRoom}/tags/u.work`, {})
    await alice.put(`${perRoom}/tags/u.work`, { order: 'first' })
    await alice.get(`${perRoom}/tags`)
    await alice.get(ofUser(bob, `/rooms/${encodeURIComponent(room)}/tags`))
    await alice.ok('DELETE', `${perRoom}/tags/u.work`)
    await alice.sync({ since })
    await alice.sync()
  })

  conforms('filters', async (recording) => {
    const [alice, bob] = [await recording.user('alice'), await recording.user('bob')]
    const filter = { room: { timeline: { limit: 1, types: ['m.room.*'] }, state: { lazy_load_members: true } } }
    const { filter_id: id } = await alice.ok('POST', ofUser(alice, '/filter'), filter)
    await alice.get(ofUser(alice, `/filter/${id}`))
    await alice.get(ofUser(alice, '/filter/999'))
    await alice.get(ofUser(bob, `/filter/${id}`))
    await alice.post(ofUser(alice, '/filter'), { room: 1 })
    await alice.post(ofUser(bob, '/filter'), {})
    await alice.sync({ filter: id })
    await alice.get(`${v3}/sync?filter=999`)
    await alice.get(`${v3}/sync?since=nonsense`)
    await alice.get(`${v3}/sync?timeout=soon`)
  })

  conforms('push rules', async (recording) => {
    const alice = await recording.user('alice')
    await alice.get(`${v3}/pushrules/`)
    await alice.get(`${v3}/pushrules/global/`)
    for (const rest of ['', '/enabled', '/actions']) {
      await alice.get(`${v3}/pushrules/global/override/.m.rule.master${rest}`)
      await alice.get(`${v3}/pushrules/global/content/.m.rule.contains_user_name${rest}`)
      await alice.get(`${v3}/pushrules/global/override/nothing${rest}`)
      await alice.get(`${v3}/pushrules/global/nothing/.m.rule.master${rest}`)
    }
  })

  conforms('keys, and messages to devices', async (recording) => {
    const { alice, bob } = await meet(recording)
    const since = await bob.syncToken()
    const [from, mine] = [await alice.syncToken(), deviceKeys(alice)]
    const [one, two, fallback] = [oneTimeKey(mine), oneTimeKey(mine), oneTimeKey(mine, { fallback: true })]
    await alice.ok('POST', `${v3}/keys/upload`, {
      device_keys: mine.keys,
      one_time_keys: { 'signed_curve25519:AAAA': one, 'signed_curve25519:AAAB': two },
      fallback_keys: { 'signed_curve25519:AAAC': fallback },
    })
    await alice.post(`${v3}/keys/upload`, { one_time_keys: { 'signed_curve25519:AAAA': two } })
    await alice.post(`${v3}/keys/upload`, { device_keys: { ...mine.keys, user_id: bob.userId } })
    await alice.ok('PUT', `${v3}/devices/${alice.deviceId}`, { display_name: 'Phone' })
    await bob.post(`${v3}/keys/query`, { device_keys: { [alice.userId]: [], '@carol:example.org': [] } })
    await bob.post(`${v3}/keys/query`, { device_keys: { [bob.userId]: [bob.deviceId], '@nobody:hearth.test': [] } })
    await bob.post(`${v3}/keys/query`, {})
    const wanted = { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } }
    for (let claims = 0; claims < 4; claims++) await bob.ok('POST', `${v3}/keys/claim`, { one_time_keys: wanted })
    await bob.post(`${v3}/keys/claim`, { one_time_keys: { '@carol:example.org': { X: 'signed_curve25519' } } })
    await bob.post(`${v3}/keys/claim`, { one_time_keys: [] })

    const key = { algorithm: 'm.megolm.v1.aes-sha2', room_id: '!room', session_id: 'x', session_key: 'y' }
    await alice.ok('PUT', `${v3}/sendToDevice/m.room_key/1`, { messages: { [bob.userId]: { '*': key } } })
    await alice.put(`${v3}/sendToDevice/m.room_key/2`, { messages: 1 })
    await bob.sync({ since })
    await alice.sync({ since: from })
    await alice.sync()
    await bob.get(`${v3}/keys/changes?from=${since}&to=${await bob.syncToken()}`)
    await bob.get(`${v3}/keys/changes?from=nonsense&to=${since}`)
    await bob.get(`${v3}/keys/changes`)
  })
})

inCase('the answers about rooms', () => {
  conforms('that are made, of all kinds and versions', async (recording) => {
    const [alice, bob] = [await recording.user('alice'), await recording.user('bob')]
    const create = (options: object) => alice.post(`${v3}/createRoom`, options)
    for (const room_version of roomVersionNames) await create({ room_version })
    const encryption = { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } }
    await create({ preset: 'trusted_private_chat', invite: [bob.userId], is_direct: true, initial_state: [encryption] })
    await create({ preset: 'private_chat', creation_content: { type: 'm.space', 'm.federate': false } })
    await create({ visibility: 'public', room_alias_name: `made-${alice.deviceId.toLowerCase()}`, topic: 'Topic' })
    await create({ visibility: 'public', room_alias_name: `made-${alice.deviceId.toLowerCase()}` })
    await create({ power_level_content_override: { events_default: 50, users: { [bob.userId]: 50 } } })
    await create({ room_version: '99' })
    await create({ preset: 'nothing' })
    await create({ initial_state: [{ type: 'm.room.power_levels', content: { users: 1 } }] })
    await create({ invite: ['bob'] })
    await create({ invite_3pid: [{ medium: 'email' }] })
    await alice.get(`${v3}/joined_rooms`)
    await alice.sync({ filter: everything })
    await alice.sync({ use_state_after: true })
    await bob.sync()
    for (const room of (await alice.ok('GET', `${v3}/joined_rooms`)).joined_rooms) {
      await alice.get(inRoom(room, '/state'))
      await alice.get(inRoom(room, '/messages?dir=f&limit=100'))
    }
  })

  conforms('and what takes their place', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const [sinceAlice, sinceBob] = [await alice.syncToken(), await bob.syncToken()]
    await bob.post(inRoom(room, '/upgrade'), { new_version: '12' })
    await alice.post(inRoom(room, '/upgrade'), { new_version: 'unheard of' })
    await alice.post(inRoom(room, '/upgrade'), {})
    const body = { new_version: '12', additional_creators: [bob.userId] }
    const { replacement_room: made } = await alice.ok('POST', inRoom(room, '/upgrade'), body)
    await bob.join(made)
    for (const id of [room, made]) {
      await alice.get(inRoom(id, '/state'))
      await bob.get(inRoom(id, '/messages?dir=b&limit=100'))
    }
    await alice.sync({ since: sinceAlice, filter: everything })
    await bob.sync({ since: sinceBob, filter: everything })
    await alice.ok('POST', inRoom(made, '/upgrade'), { new_version: '5' })
  })

  conforms('and who is in them', async (recording) => {
    const [alice, bob, carol] = [
      await recording.user('alice'),
      await recording.user('bob'),
      await recording.user('carol'),
    ]
    const room = await alice.createRoom({ preset: 'private_chat', name: 'Private', topic: 'Quiet', room_version: '11' })
    const [sinceAlice, sinceBob] = [await alice.syncToken(), await bob.syncToken()]
    const act = (user: TestUser, action: string, body: object = {}) => user.post(inRoom(room, `/${action}`), body)
    await act(bob, 'join')
    await act(alice, 'invite', { user_id: bob.userId, reason: 'Come in' })
    await act(alice, 'invite', { medium: 'email', address: 'a@example.org', id_server: 'example.org' })
    await act(alice, 'invite', {})
    await bob.sync({ since: sinceBob })
    await bob.sync()
    await act(bob, 'leave', { reason: 'No' })
    await bob.sync({ since: sinceBob, filter: everything })
    await act(bob, 'forget')
    await act(alice, 'invite', { user_id: bob.userId })
    await bob.post(`${v3}/join/${encodeURIComponent(room)}`, { reason: 'Yes' })
    await bob.sync({ since: sinceBob })
    await act(bob, 'invite', { user_id: bob.userId })
    await act(bob, 'forget')
    await act(bob, 'kick', { user_id: alice.userId })
    await act(alice, 'kick', { user_id: bob.userId, reason: 'Rude' })
    await act(alice, 'kick', { user_id: bob.userId })
    await bob.sync({ since: sinceBob })
    await act(alice, 'ban', { user_id: bob.userId, reason: 'Still rude' })
    await act(bob, 'join')
    await act(bob, 'ban', { user_id: alice.userId })
    await act(alice, 'unban', { user_id: bob.userId })
    await act(alice, 'unban', { user_id: bob.userId })
    await act(bob, 'leave')
    await bob.get(`${v3}/joined_rooms`)
    await act(carol, 'forget')
    await act(carol, 'leave')

    await alice.ok('PUT', inRoom(room, '/state/m.room.join_rules'), { join_rule: 'knock' })
    await carol.post(`${v3}/knock/${encodeURIComponent(room)}`, { reason: 'Please' })
    await carol.sync()
    await carol.post(`${v3}/knock/${encodeURIComponent('#nothing:hearth.test')}`)
    await bob.post(`${v3}/knock/${encodeURIComponent('!nothing:hearth.test')}`)
    await act(alice, 'invite', { user_id: carol.userId })
    await act(carol, 'join')
    await carol.post(`${v3}/knock/${encodeURIComponent(room)}`)
    for (const query of ['', '?membership=join', '?not_membership=join', `?at=${sinceAlice}`, '?membership=maybe']) {
      await alice.get(inRoom(room, `/members${query}`))
    }
    await alice.get(inRoom(room, '/joined_members'))
    await bob.get(inRoom(room, '/joined_members'))
    await bob.get(inRoom(room, '/members'))
    await alice.sync({ since: sinceAlice, filter: { room: { timeline: { limit: 2 } } } })
    await alice.sync({ since: sinceAlice, filter: everything })
    await bob.sync({ filter: everything })
    await bob.sync({ since: sinceBob, filter: everything, full_state: true })
    await act(carol, 'leave')
    await alice.post(`${v3}/rooms/nonsense/join`)
  })

  conforms('that are restricted to members of others', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const join_rules = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: room }] }
    const inner = await alice.createRoom({ initial_state: [{ type: 'm.room.join_rules', content: join_rules }] })
    await bob.join(inner)
    await (await recording.user('carol')).post(inRoom(inner, '/join'))
    await bob.sync()
  })

  conforms('and what is said in them', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const [since, sinceBob] = [await alice.syncToken(), await bob.syncToken()]
    const root = await alice.say(room, 'hello')
    const redacted = await alice.say(room, 'oops')
    const send = (user: TestUser, type: string, content: unknown) =>
      user.put(inRoom(room, `/send/${type}/${randomBytes(4).toString('hex')}`), content)
    await send(bob, 'm.reaction', { 'm.relates_to': { rel_type: 'm.annotation', event_id: root, key: 'ok' } })
    await send(bob, 'm.room.message', {
      msgtype: 'm.text',
      body: `${alice.userId}?`,
      'm.mentions': { user_ids: [alice.userId] },
      'm.relates_to': { rel_type: 'm.thread', event_id: root },
    })
    await send(bob, 'm.room.message', '[]')
    await send(bob, 'm.room.message', { body: 'x'.repeat(66_000) })
    await send(bob, 'm.room.message', '{"body": 1.5}')
    await send(await recording.user('carol'), 'm.room.message', { body: 'not here' })
    await alice.ok('PUT', inRoom(room, `/redact/${encodeURIComponent(redacted)}/1`), { reason: 'Mistake' })
    await bob.put(inRoom(room, `/redact/${encodeURIComponent(root)}/1`), {})
    await bob.sync({ since: sinceBob })
    for (const id of [root, redacted, '$nothing']) {
      await bob.get(inRoom(room, `/event/${encodeURIComponent(id)}`))
      await bob.get(inRoom(room, `/context/${encodeURIComponent(id)}?limit=3`))
      await bob.get(inRoom(room, `/context/${encodeURIComponent(id)}?filter={"lazy_load_members":true}`))
    }
    const page = await bob.ok('GET', inRoom(room, '/messages?dir=b&limit=3'))
    await bob.get(inRoom(room, `/messages?dir=b&limit=100&from=${page.end}&filter={"lazy_load_members":true}`))
    await bob.get(inRoom(room, `/messages?dir=f&from=${since}`))
    await bob.get(inRoom(room, '/messages?dir=up'))
    await bob.get(inRoom(room, '/messages?dir=b&from=nonsense'))
    await (await recording.user('dave')).get(inRoom(room, '/messages?dir=b'))

    const event = encodeURIComponent(root)
    await alice.sync({ since, filter: { room: { timeline: { unread_thread_notifications: true } } } })
    await bob.ok('POST', inRoom(room, `/receipt/m.read/${event}`), {})
    await bob.ok('POST', inRoom(room, `/receipt/m.read/${event}`), { thread_id: 'main' })
    await bob.ok('POST', inRoom(room, `/receipt/m.read.private/${event}`), {})
    await bob.ok('POST', inRoom(room, `/receipt/m.fully_read/${event}`), {})
    await bob.post(inRoom(room, `/receipt/m.nothing/${event}`), {})
    await bob.post(inRoom(room, `/receipt/m.read/${event}`), { thread_id: '' })
    await bob.ok('POST', inRoom(room, '/read_markers'), { 'm.fully_read': redacted, 'm.read': redacted })
    await bob.post(inRoom(room, '/read_markers'), { 'm.read': 1 })
    const typing = (user: TestUser, body: object, of = user) =>
      user.put(inRoom(room, `/typing/${encodeURIComponent(of.userId)}`), body)
    await typing(bob, { typing: true, timeout: 20_000 })
    await typing(bob, { typing: true }, alice)
    await typing(bob, {})
    const presence = (of: TestUser) => `${v3}/presence/${encodeURIComponent(of.userId)}/status`
    await bob.ok('PUT', presence(bob), { presence: 'online', status_msg: 'Making cupcakes' })
    await bob.put(presence(alice), { presence: 'online' })
    await bob.put(presence(bob), {})
    await alice.ok('GET', presence(bob))
    await (await recording.user('erin')).get(presence(bob))
    await alice.sync({ since, timeout: 5_000, filter: { room: { rooms: [] } } })
    await alice.sync({ since })
    await bob.sync({ since: sinceBob })
    await typing(bob, { typing: false })
    await alice.sync({ since, filter: { room: { timeline: { limit: 1 }, state: { lazy_load_members: true } } } })
    await alice.sync({ full_state: true, use_state_after: true })
    const next = await alice.syncToken()
    await alice.sync({ since: next, timeout: 0 })
  })

  conforms('and their state', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const put = (user: TestUser, rest: string, body: object) => user.put(inRoom(room, `/state/${rest}`), body)
    await put(alice, 'm.room.name', { name: 'Another' })
    await put(alice, 'm.room.topic/', { topic: 'Other' })
    await put(alice, 'm.room.avatar/', { url: 'mxc://hearth.test/abc' })
    await put(alice, 'org.example.thing/key', { n: 1 })
    await put(alice, 'm.room.history_visibility/', { history_visibility: 'world_readable' })
    await put(alice, 'm.room.canonical_alias/', { alias: '#nothing:hearth.test' })
    await put(alice, `m.room.member/${encodeURIComponent(bob.userId)}`, { membership: 'join' })
    await put(bob, `m.room.member/${encodeURIComponent(bob.userId)}`, { membership: 'join', displayname: 'Bobby' })
    await put(bob, 'm.room.name', { name: 'Mine' })
    await put(alice, 'm.room.power_levels', { users: { [bob.userId]: 'high' } })
    for (const rest of ['', '/m.room.name', '/m.room.name/', '/org.example.thing/key', '/org.example.nothing']) {
      await bob.get(inRoom(room, `/state${rest}`))
    }
    for (const type of ['create', 'power_levels', 'join_rules', 'history_visibility']) {
      await bob.get(inRoom(room, `/state/m.room.${type}?format=event`))
    }
    await (await recording.user('carol')).get(inRoom(room, '/state'))
    await bob.get(inRoom('!nothing:hearth.test', '/state'))
    await put(alice, 'm.room.history_visibility/', { history_visibility: 'shared' })
    await (await recording.user('carol')).get(inRoom(room, '/state'))
  })

  conforms('to those who may not ask, and about what is not there', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const profile = `${v3}/profile/${encodeURIComponent(alice.userId)}`
    const ofRoom = (roomId: string) => ofUser(alice, `/rooms/${encodeURIComponent(roomId)}/account_data/org.example.a`)
    const quiet = await alice.createRoom({ preset: 'private_chat' })
    const answers = [
      await bob.delete(`${profile}/displayname`),
      await alice.delete(`${profile}/Not%20a%20key`),
      await bob.put(ofUser(alice, '/account_data/org.example.a'), {}),
      await bob.put(ofRoom(room), {}),
      await bob.get(ofRoom(room)),
      await alice.put(ofRoom('nonsense'), {}),
      await alice.get(ofRoom('nonsense')),
      await bob.get(inRoom(quiet, '/members')),
      await bob.get(inRoom(quiet, '/state/m.room.create')),
      await bob.post(`${v3}/join/${encodeURIComponent(quiet)}`),
      await bob.get(inRoom('nonsense', '/aliases')),
      await bob.get(`${v3}/directory/room/nonsense`),
      await alice.put(`${v3}/directory/list/room/${encodeURIComponent('!nothing:hearth.test')}`, {}),
    ]
    const statuses = [403, 400, 403, 403, 403, 400, 400, 403, 403, 403, 400, 400, 404]
    expect(answers.map(({ status }) => status)).toEqual(statuses)
  })

  conforms('and the directory of them', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const alias = `#meeting-${alice.deviceId.toLowerCase()}:hearth.test`
    const ofAlias = `${v3}/directory/room/${encodeURIComponent(alias)}`
    await bob.get(ofAlias)
    await alice.ok('PUT', ofAlias, { room_id: room })
    await bob.put(ofAlias, { room_id: room })
    await alice.put(`${v3}/directory/room/${encodeURIComponent('#a:example.org')}`, { room_id: room })
    await alice.put(`${v3}/directory/room/nonsense`, { room_id: room })
    await recording.client().get(ofAlias)
    await alice.ok('PUT', inRoom(room, '/state/m.room.canonical_alias'), { alias })
    await bob.get(inRoom(room, '/aliases'))
    await (await recording.user('carol')).get(inRoom(room, '/aliases'))
    await (await recording.user('dave')).post(`${v3}/join/${encodeURIComponent(alias)}`)
    await bob.post(`${v3}/join/${encodeURIComponent('#nothing:hearth.test')}`)

    const visibility = `${v3}/directory/list/room/${encodeURIComponent(room)}`
    await recording.client().get(visibility)
    await alice.ok('PUT', visibility, { visibility: 'public' })
    await bob.put(visibility, { visibility: 'private' })
    await alice.put(visibility, { visibility: 'secret' })
    await bob.get(`${v3}/directory/list/room/${encodeURIComponent('!nothing:hearth.test')}`)
    await alice.createRoom({ visibility: 'public', creation_content: { type: 'm.space' }, preset: 'public_chat' })
    const { next_batch: next } = await recording
      .client()
      .get(`${v3}/publicRooms?limit=1`)
      .then(({ body }) => body)
    await bob.get(`${v3}/publicRooms?limit=1&since=${next}`)
    await bob.get(`${v3}/publicRooms?since=nonsense`)
    await bob.get(`${v3}/publicRooms?server=example.org`)
    await bob.post(`${v3}/publicRooms`, { filter: { generic_search_term: 'meeting', room_types: [null] }, limit: 10 })
    await bob.post(`${v3}/publicRooms`, { filter: { room_types: ['m.space'] } })
    await bob.post(`${v3}/publicRooms`, { limit: -1 })
    await bob.delete(ofAlias)
    await alice.ok('DELETE', ofAlias)
    await alice.delete(ofAlias)
  })

  conforms('and spaces of them', async (recording) => {
    const { alice, bob, room } = await meet(recording)
    const space = await alice.createRoom({ preset: 'public_chat', creation_content: { type: 'm.space' } })
    const child = `/state/m.space.child/${encodeURIComponent(room)}`
    await alice.ok('PUT', inRoom(space, child), { via: ['hearth.test'], order: 'a', suggested: true })
    const hierarchy = `/_matrix/client/v1/rooms/${encodeURIComponent(space)}/hierarchy`
    const { next_batch: next } = await bob.ok('GET', `${hierarchy}?limit=1`)
    await bob.ok('GET', `${hierarchy}?from=${next}`)
    await bob.get(`${hierarchy}?from=${next}&max_depth=1`)
    await bob.get(`/_matrix/client/v1/rooms/${encodeURIComponent('!nothing:hearth.test')}/hierarchy`)
    await bob.ok('GET', `/_matrix/client/v1/room_summary/${encodeURIComponent(room)}`)
    await recording.client().get(`/_matrix/client/v1/room_summary/${encodeURIComponent(space)}`)
    await bob.get(`/_matrix/client/v1/room_summary/${encodeURIComponent('!nothing:hearth.test')}`)
  })

  conforms('and tokens that tell other services who a user is', async (recording) => {
    const alice = await recording.user('alice')
    await alice.ok('POST', ofUser(alice, '/openid/request_token'), {})
    await alice.post(`${v3}/user/@bob:hearth.test/openid/request_token`, {})
  })
})

/** What was never asked for with success is not checked at all; said, not failed. */
afterAll(() => {
  const missing = declared.filter(({ operationId }) => !exercised.has(operationId))
  if (folder === undefined || missing.length === 0) return
  console.warn(`Not checked against the specification: ${missing.map(({ operationId }) => operationId).join(', ')}`)
})
