/** A server that a Hearth can reach, with keys and TLS of its own, whose users join rooms of the Hearth and write there. */

import type { ServerResponse } from 'node:http'
import { authEventKeys } from '../../../src/protocol/authorization/index.js'
import { canonicalJson } from '../../../src/protocol/canonical-json.js'
import { eventIdOf } from '../../../src/protocol/event-id.js'
import { ownString, type JsonObject } from '../../../src/protocol/json.js'
import { rulesOf, type RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { finishEvent, type SigningKey } from '../../../src/protocol/signing.js'
import { parseExactJson } from '../../../src/protocol/strict-json.js'
import { signRequest } from '../../../src/protocol/x-matrix.js'
import type { TestAuthority } from '../../../test/support/certificates.js'
import { HttpsServer, json, type Asked } from '../../../test/support/https-server.js'
import { keyAnswer } from '../../../test/support/key-servers.js'
import { labServer } from '../../../test/support/laboratory/servers.js'
import { Connection, requestWith } from '../http/connection.js'
import type { Answer } from '../http/response-parser.js'
import { RequestFailed } from '../matrix.js'
import { describe } from '../errors.js'
import type { Target } from '../target.js'

/** The Hearth it speaks to. */
export interface Addressee {
  readonly name: string
  readonly target: Pick<Target, 'endpoint'>
}

const federation = '/_matrix/federation'
const HOUR = 3_600_000

export class Peer {
  /** False: whatever it is asked beside its keys and its version, it does not answer. */
  answers = true
  readonly #hanging = new Set<ServerResponse>()
  readonly #connection: Connection
  readonly #key: SigningKey
  #transactions = 0

  private constructor(
    private readonly server: HttpsServer,
    readonly hearth: Addressee,
  ) {
    this.#key = labServer(this.name).key
    this.#connection = new Connection(hearth.target.endpoint)
    server.script = (asked, response) => this.#respond(asked, response)
  }

  static async start(authority: TestAuthority, hearth: Addressee): Promise<Peer> {
    return new Peer(await HttpsServer.listening(authority, ['localhost']), hearth)
  }

  /** `localhost:PORT` */
  get name(): string {
    return `localhost:${this.server.port}`
  }

  /** Its user comes into a room of the Hearth. */
  async join(roomId: string, version: string): Promise<PeerRoom> {
    const rules = rulesOf(version)!
    const user = `@peer:${this.name}`
    const made = await this.ask(
      'GET',
      `${federation}/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(user)}?ver=${version}`,
    )
    const join = finishEvent(rules, made.event as JsonObject, this.name, this.#key)
    const answer = await this.ask(
      'PUT',
      `${federation}/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(join.eventId)}`,
      join.pdu,
    )
    const room = new PeerRoom(roomId, rules, user, this.#key)
    for (const pdu of answer.state as JsonObject[]) room.takeState(pdu, eventIdOf(rules, pdu))
    room.takeState(join.pdu, join.eventId)
    room.tip = { eventId: join.eventId, depth: Number(join.pdu.depth) }
    return room
  }

  /** A transaction, signed and ready to be sent. */
  transaction(pdus: readonly JsonObject[]): string {
    const content = { origin: this.name, origin_server_ts: Date.now(), pdus: [...pdus], edus: [] }
    return this.#request('PUT', `${federation}/v1/send/${this.#transactions++}`, content)
  }

  send(transaction: string): Promise<Answer> {
    return this.#connection.request(transaction)
  }

  /** @throws RequestFailed unless the answer is 200 */
  async ask(method: string, uri: string, content?: JsonObject): Promise<JsonObject> {
    const answer = await this.#connection.request(this.#request(method, uri, content))
    if (answer.status !== 200) throw new RequestFailed(`${this.name}: ${method} ${uri}: ${describe(answer)}`)
    return parseExactJson(answer.body.toString()) as JsonObject
  }

  /** What it was asked and has not answered breaks off. */
  release(): void {
    for (const response of this.#hanging) response.destroy()
    this.#hanging.clear()
  }

  async close(): Promise<void> {
    this.#connection.close()
    await this.server.close()
  }

  #request(method: string, uri: string, content?: JsonObject): string {
    const request = { method, uri, origin: this.name, destination: this.hearth.name, content }
    const body = content && canonicalJson(content, 'any')
    return requestWith(this.hearth.target.endpoint, method, uri, signRequest(request, this.#key), body)
  }

  #respond({ url }: Asked, response: ServerResponse): void {
    this.server.asked.length = 0
    if (url.startsWith('/_matrix/key/')) {
      const keys = keyAnswer(this.name, { keys: [this.#key], validUntil: Date.now() + 24 * HOUR })
      return json(response, keys)
    }
    if (!this.answers) return void this.#hanging.add(response)
    if (url.startsWith(`${federation}/v1/send/`)) return json(response, { pdus: {} })
    json(response, { errcode: 'M_NOT_FOUND', error: 'not here' }, 404)
  }
}

interface Tip {
  readonly eventId: string
  readonly depth: number
}

/** A room as the peer writes into it: each event on its last one. */
export class PeerRoom {
  tip: Tip = { eventId: '', depth: 0 }
  readonly #state = new Map<string, string>()
  #sequence = 0

  constructor(
    readonly roomId: string,
    readonly rules: RoomVersionRules,
    readonly user: string,
    readonly key: SigningKey,
  ) {}

  takeState(pdu: JsonObject, eventId: string): void {
    this.#state.set(`${ownString(pdu, 'type')}|${ownString(pdu, 'state_key')}`, eventId)
  }

  /** A message of some 400 bytes on the one before it. */
  say(body = 'x'.repeat(400)): JsonObject {
    const pdu = this.#message(body, this.tip)
    this.tip = { eventId: pdu.eventId, depth: this.tip.depth + 1 }
    return pdu.pdu
  }

  /** A message on an event that nobody has. */
  sayOnNothing(): JsonObject {
    const eventId = `$${Buffer.from(`nobody has this event: ${String(this.#sequence++).padStart(9, '0')}`).toString('base64url')}`
    return this.#message('on nothing', { eventId, depth: this.tip.depth + 10 }).pdu
  }

  #message(body: string, before: Tip) {
    const event = { type: 'm.room.message', sender: this.user, content: { msgtype: 'm.text', body } }
    const authEvents = authEventKeys(this.rules, { ...event, stateKey: undefined }).flatMap(
      ([type, key]) => this.#state.get(`${type}|${key}`) ?? [],
    )
    const pdu = {
      ...event,
      room_id: this.roomId,
      origin_server_ts: Date.now(),
      depth: before.depth + 1,
      prev_events: [before.eventId],
      auth_events: authEvents,
    }
    return finishEvent(this.rules, pdu, this.user.slice(this.user.indexOf(':') + 1), this.key)
  }
}
