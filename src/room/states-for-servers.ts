/**
 * States and auth chains as other servers ask for them, as JSON. They may be tens of thousands of events: their texts are
 * read and written so many at a time, unparsed, and one server has one such answer made at a time.
 *
 * All of a state is told, since who takes part in a room needs it to judge events. What the server may not see is told as
 * redacted, which leaves what the authorisation rules look at.
 */
import { OneAtATime } from '../one-at-a-time.js'
import { tooLarge } from '../protocol/matrix-error.js'
import type { EventNumber } from '../protocol/numbers.js'
import { redactedEvent, roomEventOf } from '../protocol/pdu.js'
import { parseExactJson } from '../protocol/strict-json.js'
import type { JsonObject } from '../protocol/json.js'
import { authChainOf } from '../store/auth-chains.js'
import { eventIds, identifiedTexts } from '../store/event-texts.js'
import { stateEventNumbers } from '../store/state-events.js'
import type { StoredEvent } from '../store/stored-event.js'
import { eventIn, eventNotFound, type ForServersDeps } from './for-servers.js'
import { JsonPieces } from './json-pieces.js'
import type { KnownRoom } from './known-room.js'

/** Events of one answer: some hundred megabytes of texts, or of ids some ten. */
const MOST = { texts: 200_000, ids: 500_000 }

export class StatesForServers {
  private readonly turns = new OneAtATime()

  constructor(private readonly deps: ForServersDeps) {}

  /** `pdus` and `auth_chain`: the state before an event. @throws MatrixError 404 */
  state(name: KnownRoom, server: string, eventId: string): Promise<Buffer> {
    return this.turns.run(server, async () => {
      const event = await eventIn(this.deps, name, eventId)
      const { state, chain } = await this.stateBefore(name, event, MOST.texts)
      const texts = await this.textsFor(name, server, event)
      const answer = new JsonPieces()
      answer.add('{"pdus":')
      await answer.addArray(texts(state))
      answer.add(',"auth_chain":')
      await answer.addArray(texts(chain))
      answer.add('}')
      return answer.bytes()
    })
  }

  /** `pdu_ids` and `auth_chain_ids`: the state before an event. @throws MatrixError 404 */
  stateIds(name: KnownRoom, server: string, eventId: string): Promise<Buffer> {
    return this.turns.run(server, async () => {
      const event = await eventIn(this.deps, name, eventId)
      const { state, chain } = await this.stateBefore(name, event, MOST.ids)
      const answer = new JsonPieces()
      answer.add('{"pdu_ids":')
      await answer.addArray(this.idsOf(name, state))
      answer.add(',"auth_chain_ids":')
      await answer.addArray(this.idsOf(name, chain))
      answer.add('}')
      return answer.bytes()
    })
  }

  /** `auth_chain`: of an event, with the create event also where it is named by the room id alone. @throws MatrixError 404 */
  authChain(name: KnownRoom, server: string, eventId: string): Promise<Buffer> {
    return this.turns.run(server, async () => {
      const event = await eventIn(this.deps, name, eventId)
      const chain = [
        ...(await this.impliedCreate(name, event)),
        ...(await this.chainOf(name, [event.number], MOST.texts)),
      ]
      const answer = new JsonPieces()
      answer.add('{"auth_chain":')
      await answer.addArray((await this.textsFor(name, server, event))(chain))
      answer.add('}')
      return answer.bytes()
    })
  }

  /** Since version 12 it authorises every event without being named. Synapse and those who ask for a chain count it in. */
  private async impliedCreate({ room, roomId, rules }: KnownRoom, event: StoredEvent): Promise<EventNumber[]> {
    if (!rules.roomIdIsCreateHash) return []
    const create = await this.deps.stores.events.byId(room, `$${roomId.slice(1)}`)
    return create === undefined || create.number === event.number ? [] : [create.number]
  }

  private async stateBefore(name: KnownRoom, { stateBefore }: StoredEvent, most: number) {
    if (stateBefore === undefined) throw eventNotFound()
    const state = await stateEventNumbers(this.deps.stores, name.room, stateBefore)
    return { state, chain: await this.chainOf(name, state, most - state.length) }
  }

  private async chainOf(name: KnownRoom, events: readonly EventNumber[], most: number): Promise<EventNumber[]> {
    const chain = most < 0 ? [] : await authChainOf(this.deps.stores, name.room, events, most + 1)
    if (most < 0 || chain.length > most) throw tooLarge('These are more events than one answer may have')
    return chain
  }

  private async *idsOf({ room }: KnownRoom, events: readonly EventNumber[]): AsyncGenerator<string[]> {
    for await (const ids of eventIds(this.deps.stores.db, room, events)) yield ids.map((id) => JSON.stringify(id))
  }

  private async textsFor(name: KnownRoom, server: string, event: StoredEvent) {
    const { gate, stores } = this.deps
    const isSigned = await gate.signedInStateOf(name, server, event)
    return async function* (events: readonly EventNumber[]): AsyncGenerator<string[]> {
      for await (const some of identifiedTexts(stores.db, name.room, events)) {
        yield some.map(({ event, event_id, body }) => (isSigned(event) ? body : redactedText(name, event_id, body)))
      }
    }
  }
}

function redactedText({ rules }: KnownRoom, eventId: string, text: string): string {
  return redactedEvent(rules, roomEventOf(rules, parseExactJson(text) as JsonObject, eventId)).text
}
