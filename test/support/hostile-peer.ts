/**
 * A server that a Hearth can reach by its name, with keys and TLS of its own, which signs what it asks for and holds rooms
 * of the laboratory. It is honest until a test says otherwise:
 *
 *     const { hearth, peer } = await startWithHostilePeer()
 *     const room = peer.room({ version: '11' })             // created by @eve of the peer
 *     await peer.invite(room, user) or user.join via peer.name
 *     peer.answers('make_join', (honest) => ({ ...honest, room_version: '99' }))
 *     await peer.ask('GET', '/_matrix/federation/v1/…')     // signed
 *     await peer.send([pdu.text], [edu])                    // a transaction
 *
 * Everything that either side has ever sent is kept: `peer.exchanged`.
 */
import type { ServerResponse } from 'node:http'
import { afterAll } from '@jest/globals'
import { createLogger, type Logger } from '../../src/logger.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import { numbersOf } from '../../src/protocol/hashes.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../../src/protocol/json.js'
import { roomEventOf } from '../../src/protocol/pdu.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { finishEvent, signEvent, type SigningKey } from '../../src/protocol/signing.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import { signRequest, type RequestToSign } from '../../src/protocol/x-matrix.js'
import { TestAuthority } from './certificates.js'
import { eventually } from './eventually.js'
import { startFederation, type FederatedServer, type FederationOptions } from './federation.js'
import { TestClient, type Answer } from './http.js'
import { HttpsServer, json, type Asked } from './https-server.js'
import { keyAnswer } from './key-servers.js'
import { type Branch, labRoom, labServer, type LabEvent, type LabRoomOptions } from './laboratory/index.js'
import { ScriptedServer } from './laboratory/scripted-server.js'
import type { TestUser } from './test-user.js'

/** What a server may be asked; the first that matches counts. */
const operations = {
  keys: /^GET \/_matrix\/key\/v2\/server/,
  version: /^GET \/_matrix\/federation\/v1\/version/,
  make_join: /^GET \/_matrix\/federation\/v1\/make_join\/([^/]+)\/([^/?]+)/,
  make_leave: /^GET \/_matrix\/federation\/v1\/make_leave\/([^/]+)\/([^/?]+)/,
  make_knock: /^GET \/_matrix\/federation\/v1\/make_knock\/([^/]+)\/([^/?]+)/,
  send_join: /^PUT \/_matrix\/federation\/v2\/send_join\/([^/]+)\/([^/?]+)/,
  send_leave: /^PUT \/_matrix\/federation\/v2\/send_leave\/([^/]+)\/([^/?]+)/,
  send_knock: /^PUT \/_matrix\/federation\/v1\/send_knock\/([^/]+)\/([^/?]+)/,
  invite: /^PUT \/_matrix\/federation\/v2\/invite\/([^/]+)\/([^/?]+)/,
  invite_v1: /^PUT \/_matrix\/federation\/v1\/invite\/([^/]+)\/([^/?]+)/,
  send: /^PUT \/_matrix\/federation\/v1\/send\/([^/?]+)/,
  state: /^GET \/_matrix\/federation\/v1\/state\/([^/?]+)\?event_id=([^&]+)/,
  state_ids: /^GET \/_matrix\/federation\/v1\/state_ids\/([^/?]+)\?event_id=([^&]+)/,
  event_auth: /^GET \/_matrix\/federation\/v1\/event_auth\/([^/]+)\/([^/?]+)/,
  event: /^GET \/_matrix\/federation\/v1\/event\/([^/?]+)/,
  backfill: /^GET \/_matrix\/federation\/v1\/backfill\/([^/?]+)/,
  missing_events: /^POST \/_matrix\/federation\/v1\/get_missing_events\/([^/?]+)/,
  profile: /^GET \/_matrix\/federation\/v1\/query\/profile\?user_id=([^&]+)/,
  directory: /^GET \/_matrix\/federation\/v1\/query\/directory\?room_alias=([^&]+)/,
  public_rooms: /^(?:GET|POST) \/_matrix\/federation\/v1\/publicRooms/,
  hierarchy: /^GET \/_matrix\/federation\/v1\/hierarchy\/([^/?]+)/,
  devices: /^GET \/_matrix\/federation\/v1\/user\/devices\/([^/?]+)/,
  keys_query: /^POST \/_matrix\/federation\/v1\/user\/keys\/query/,
  keys_claim: /^POST \/_matrix\/federation\/v1\/user\/keys\/claim/,
} as const

export type Operation = keyof typeof operations
export const allOperations = Object.keys(operations) as readonly Operation[]

/** What it answers instead of the truth: JSON, a text, or whatever it does with the response itself. */
export type Lie = (honest: JsonObject, asked: Asked, response: ServerResponse) => Json | string | void

export interface Asking extends Partial<RequestToSign> {
  readonly key?: SigningKey
  /** Sent instead of the content that was signed. */
  readonly body?: string | Uint8Array
  /** Instead of the signature. */
  readonly authorization?: string
}

const started: HttpsServer[] = []
afterAll(() => Promise.all(started.map((server) => server.close())))

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly errcode: string,
  ) {
    super(errcode)
  }
}

export class HostilePeer {
  readonly key: SigningKey
  readonly rooms = new Map<string, Branch>()
  /** JSON texts that went between the two servers, in either direction. */
  readonly exchanged: string[] = []
  private readonly lies = new Map<Operation, Lie>()
  private readonly counts = new Map<Operation, number>()
  private sent = 0

  private constructor(
    readonly https: HttpsServer,
    readonly hearth: FederatedServer,
  ) {
    this.key = labServer(this.name).key
    https.script = (asked, response) => this.respond(asked, response)
  }

  static async start(authority: TestAuthority, hearth: FederatedServer): Promise<HostilePeer> {
    const https = await HttpsServer.listening(authority, ['localhost', '127.0.0.1'])
    started.push(https)
    return new HostilePeer(https, hearth)
  }

  /** `localhost:PORT` */
  get name(): string {
    return `localhost:${this.https.port}`
  }

  user(localpart: string): string {
    return `@${localpart}:${this.name}`
  }

  get eve(): string {
    return this.user('eve')
  }

  /** A room of Eve's that this server answers for. */
  room(options: LabRoomOptions = {}): Branch {
    const room = labRoom({ creator: this.eve, ...options })
    this.rooms.set(room.roomId, room)
    return room
  }

  /** A room of Eve's that these users of the Hearth have joined. */
  async roomWith(users: readonly TestUser[], options: LabRoomOptions = {}): Promise<Branch> {
    const room = this.room(options)
    for (const user of users) await this.letIn(user, room)
    return room
  }

  letIn(user: TestUser, room: Branch) {
    return user.ok('POST', `/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}?via=${this.name}`, {})
  }

  answers(operation: Operation, lie: Lie): this {
    this.lies.set(operation, lie)
    return this
  }

  honestly(...operations: readonly Operation[]): this {
    if (operations.length === 0) this.lies.clear()
    for (const operation of operations) this.lies.delete(operation)
    return this
  }

  timesAsked(operation: Operation): number {
    return this.counts.get(operation) ?? 0
  }

  /** A request to the Hearth, signed unless `asking` says otherwise. */
  async ask(method: string, uri: string, asking: Asking = {}): Promise<Answer> {
    const { key = this.key, body, authorization, ...signed } = asking
    const request = { method, uri, origin: this.name, destination: this.hearth.name, ...signed }
    const content = request.content === undefined ? undefined : canonicalJson(request.content, 'any')
    const headers = { Authorization: authorization ?? signRequest(request, key) }
    const answer = await new TestClient(this.hearth.baseUrl).request(method, uri, body ?? content, { headers })
    this.exchanged.push(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body))
    return answer
  }

  /** A transaction; PDUs and EDUs may be of any shape. */
  send(pdus: readonly (string | Json)[], edus: readonly Json[] = [], asking: Asking = {}): Promise<Answer> {
    const read = (pdu: string | Json): Json => (typeof pdu === 'string' ? parseExactJson(pdu) : pdu)
    const content: JsonObject = {
      origin: this.name,
      origin_server_ts: Date.now(),
      pdus: pdus.map(read),
      edus: [...edus],
    }
    return this.ask('PUT', `/_matrix/federation/v1/send/${++this.sent}-${this.name}`, { content, ...asking })
  }

  /** Nothing that came is waiting in the Hearth any more, but for what it tries again later. */
  async settled(within = 20_000): Promise<void> {
    const { db } = this.hearth.database
    const due = () =>
      db.selectFrom('staged_pdu').select('staged').where('next_attempt_ts', '<=', Date.now()).limit(1).execute()
    await eventually('what is staged was tried', async () => (await due()).length === 0, { within })
  }

  /** `PUT /invite`, by Eve unless the event says otherwise. */
  invite(room: Branch, event: { eventId: string; pdu: JsonObject }, more: JsonObject = {}): Promise<Answer> {
    const path = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(event.eventId)}`
    const state = ['m.room.create', 'm.room.join_rules'].map((type) => room.stateEvent(type)!.event.pdu as JsonObject)
    return this.ask('PUT', path, {
      content: { room_version: room.rules.version, event: event.pdu, invite_room_state: state, ...more },
    })
  }

  /** What an event of the room becomes with these keys otherwise: hashed and signed again, whatever they are. */
  forged(room: Branch, base: LabEvent, changes: Readonly<Record<string, Json | undefined>>, signer = this.name) {
    const { hashes: _hashes, signatures: _signatures, ...pdu } = { ...base.event.pdu, ...changes }
    const rules = { ...room.rules, strictCanonicalJson: false }
    return finishEvent(rules, pdu as JsonObject, signer, labServer(signer).key)
  }

  private async respond(asked: Asked, response: ServerResponse): Promise<void> {
    if (asked.body !== '') this.exchanged.push(asked.body)
    const line = `${asked.method} ${asked.url}`
    const operation = allOperations.find((name) => operations[name].test(line))
    if (operation === undefined) return json(response, { errcode: 'M_UNRECOGNIZED', error: line }, 404)
    this.counts.set(operation, this.timesAsked(operation) + 1)
    const named = [...operations[operation].exec(line)!].slice(1).map(decodeURIComponent)
    try {
      const honest = await this.truth(operation, named, asked)
      const lie = this.lies.get(operation)
      const said = lie === undefined ? honest : lie(honest, asked, response)
      if (said === undefined) return
      const text = typeof said === 'string' ? said : canonicalJson(said, 'any')
      response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    } catch (cause) {
      const [status, errcode] = cause instanceof Refusal ? [cause.status, cause.errcode] : [404, 'M_NOT_FOUND']
      json(response, { errcode, error: String(cause) }, status)
    }
  }

  private async truth(operation: Operation, named: readonly string[], asked: Asked): Promise<JsonObject> {
    const [first = '', second = ''] = named
    const body = asked.body === '' ? {} : (parseExactJson(asked.body) as JsonObject)
    const room = (): Branch => {
      const found = this.rooms.get(first)
      if (found === undefined) throw new Refusal(404, 'M_NOT_FOUND')
      return found
    }
    const scripted = () => new ScriptedServer(this.name, room().judged)
    const signal = new AbortController().signal
    const values = (texts: readonly string[]): readonly Json[] => texts.map((text) => parseExactJson(text))
    switch (operation) {
      case 'keys':
        return keyAnswer(this.name, { keys: [this.key], validUntil: Date.now() + 3_600_000 })
      case 'version':
        return { server: { name: 'hostile', version: '1' } }
      case 'make_join':
      case 'make_leave':
      case 'make_knock':
        return this.template(room(), second, operation.slice('make_'.length))
      case 'send_join':
        return this.joined(room(), body)
      case 'send_leave':
        this.take(room(), body)
        return {}
      case 'send_knock':
        this.take(room(), body)
        return { knock_room_state: [] }
      case 'invite': {
        const rules = rulesOf(ownString(body, 'room_version')!)!
        return { event: signEvent(rules, own(body, 'event') as JsonObject, this.name, this.key) }
      }
      case 'invite_v1':
        throw new Refusal(404, 'M_UNRECOGNIZED')
      case 'send': {
        const pdus = own(body, 'pdus')
        for (const pdu of Array.isArray(pdus) ? (pdus as Json[]) : []) {
          const known = isObject(pdu) ? this.rooms.get(ownString(pdu, 'room_id') ?? '') : undefined
          if (known !== undefined) this.take(known, pdu as JsonObject)
        }
        return { pdus: {} }
      }
      case 'state': {
        const { state, authChain } = await scripted().state(this.name, first, second, signal)
        return { pdus: values(state), auth_chain: values(authChain) }
      }
      case 'state_ids': {
        const { stateIds, authChainIds } = await scripted().stateIds(this.name, first, second, signal)
        return { pdu_ids: [...stateIds], auth_chain_ids: [...authChainIds] }
      }
      case 'event_auth':
        return { auth_chain: values(await scripted().eventAuth(this.name, first, second, signal)) }
      case 'event': {
        const found = [...this.rooms.values()].flatMap(({ judged }) => judged.find(first) ?? [])
        return { origin: this.name, origin_server_ts: 1, pdus: values(found.slice(0, 1).map(({ text }) => text)) }
      }
      case 'backfill': {
        const query = new URL(asked.url, 'https://peer').searchParams
        const limit = Number(query.get('limit'))
        const texts = await scripted().backfill(this.name, first, query.getAll('v'), limit, signal)
        return { origin: this.name, origin_server_ts: 1, pdus: values(texts) }
      }
      case 'missing_events': {
        const [earliest, latest] = [own(body, 'earliest_events'), own(body, 'latest_events')] as string[][]
        const gap = { earliest: earliest!, latest: latest!, limit: Number(own(body, 'limit') ?? 10), minDepth: 0 }
        return { events: values(await scripted().missingEvents(this.name, first, gap, signal)) }
      }
      case 'profile':
        return { displayname: 'Eve', avatar_url: 'mxc://peer/eve' }
      case 'directory':
        return { room_id: [...this.rooms.keys()][0] ?? '!none:peer', servers: [this.name] }
      case 'public_rooms':
        return { chunk: [...this.rooms.values()].map(chunkOf), next_batch: 'more', total_room_count_estimate: 5 }
      case 'hierarchy':
        return { room: { ...chunkOf(room()), children_state: [] }, children: [], inaccessible_children: [] }
      case 'devices':
        return { user_id: first, stream_id: 1, devices: [] }
      case 'keys_query': {
        const users = Object.keys(own(body, 'device_keys') as JsonObject)
        return { device_keys: Object.fromEntries(users.map((user) => [user, {}])) as JsonObject }
      }
      case 'keys_claim':
        return { one_time_keys: {} }
    }
  }

  private template(room: Branch, userId: string, membership: string): JsonObject {
    const { event, verdict } = room.attempt(userId, {
      type: 'm.room.member',
      stateKey: userId,
      content: { membership },
    })
    if (!verdict.allowed) throw new Refusal(403, 'M_FORBIDDEN')
    const { hashes: _hashes, signatures: _signatures, event_id: _eventId, ...template } = event.pdu
    return { room_version: room.rules.version, event: template as JsonObject }
  }

  private joined(room: Branch, pdu: JsonObject): JsonObject {
    const { event, eventId } = this.take(room, pdu)
    const scripted = new ScriptedServer(this.name, room.judged)
    const { stateBefore } = room.judged.get(eventId)
    const state = [...stateBefore.values()].map((id) => room.judged.get(id))
    const chain = new Map<string, LabEvent>()
    const open = [...event.authEvents, ...state.flatMap((one) => one.event.authEvents)]
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (chain.has(id)) continue
      const one = room.judged.get(id)
      chain.set(id, one)
      open.push(...one.event.authEvents)
    }
    return {
      origin: scripted.name,
      event: pdu,
      members_omitted: false,
      state: state.map((one) => parseExactJson(one.text)),
      auth_chain: [...chain.values()].map((one) => parseExactJson(one.text)),
    }
  }

  /** An event of the Hearth goes into the room, and becomes its tip. */
  private take(room: Branch, pdu: JsonObject): LabEvent {
    const { unsigned: _unsigned, ...rest } = pdu
    const event = roomEventOf(room.rules, rest as JsonObject)
    const taken = room.judged.add(event, canonicalJson(rest as JsonObject, numbersOf(room.rules)))
    room.tips = [...room.tips.filter(({ eventId }) => !event.prevEvents.includes(eventId)), taken]
    return taken
  }
}

const chunkOf = ({ roomId, rules }: Branch): JsonObject => ({
  room_id: roomId,
  room_version: rules.version,
  num_joined_members: 1,
  world_readable: false,
  guest_can_join: false,
  join_rule: 'public',
  name: 'a room of the peer',
})

export interface WithHostilePeer {
  readonly hearth: FederatedServer
  readonly peer: HostilePeer
  readonly authority: TestAuthority
  /** What the Hearth said at the level of errors: faults of its own, which nothing that a peer does may bring about. */
  readonly faults: readonly string[]
}

/** A Hearth among servers one of which is hostile. They end after the tests. */
export async function startWithHostilePeer(options: FederationOptions = {}): Promise<WithHostilePeer> {
  const faults: string[] = []
  const log: Logger = createLogger('error', 'json', (line) => faults.push(line))
  const authority = new TestAuthority()
  const environment = { PRESENCE: 'federated', ...options.environment }
  const [hearth] = await startFederation(1, { log, authority, ...options, environment })
  return { hearth: hearth!, peer: await HostilePeer.start(authority, hearth!), authority, faults }
}
