/** Events of other servers for measuring: real ids and hashes, with edges that are said and not worked out. */
import { authEventKeys } from '../../src/protocol/authorization/index.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { roomEventOf } from '../../src/protocol/pdu.js'
import type { RoomEvent } from '../../src/protocol/room-event.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { finishEvent } from '../../src/protocol/signing.js'
import type { Arrival } from '../../src/room/arrival.js'
import { alice, serverOf } from '../../test/support/laboratory/index.js'

const version = '11'
const rules = rulesOf(version)!
export { version }

interface Made {
  readonly event: RoomEvent
  readonly text: string
}

let clock = 1_700_000_000_000
let rooms = 0

/** One line of a room: its tip, and the state after it as far as auth events are chosen from it. */
export class Line {
  private constructor(
    readonly roomId: string,
    private tips: readonly RoomEvent[],
    private readonly state: Map<string, RoomEvent>,
  ) {}

  /** A public room; gives its events, the create event first. */
  static begin(levels: JsonObject = {}): { line: Line; arrivals: Arrival[] } {
    const line = new Line(`!costs${rooms++}:${serverOf(alice).name}`, [], new Map())
    const arrivals = [
      line.add(alice, 'm.room.create', { room_version: version }, ''),
      line.add(alice, 'm.room.member', { membership: 'join' }, alice),
      line.add(alice, 'm.room.power_levels', { users: { [alice]: 100 }, ...levels }, ''),
      line.add(alice, 'm.room.join_rules', { join_rule: 'public' }, ''),
    ]
    return { line, arrivals }
  }

  fork(): Line {
    return new Line(this.roomId, this.tips, new Map(this.state))
  }

  /** The next event stands on both. Of what they differ in, this one's is taken for the auth events. */
  merge(other: Line): void {
    this.tips = [...this.tips, ...other.tips]
  }

  say(sender = alice): Arrival {
    return this.add(sender, 'm.room.message', { msgtype: 'm.text', body: 'x'.repeat(400) })
  }

  add(sender: string, type: string, content: JsonObject, stateKey?: string): Arrival {
    const { event, text } = this.make(sender, type, content, stateKey)
    this.tips = [event]
    if (stateKey !== undefined) this.state.set(`${type}|${stateKey}`, event)
    return { event, text, kind: 'live' }
  }

  private make(sender: string, type: string, content: JsonObject, stateKey: string | undefined): Made {
    const authEvents = authEventKeys(rules, { type, sender, content, stateKey })
      .map(([type, key]) => this.state.get(`${type}|${key}`))
      .filter((event) => event !== undefined)
    const { name, key } = serverOf(sender)
    const { pdu, text, eventId } = finishEvent(
      rules,
      {
        type,
        sender,
        content,
        room_id: this.roomId,
        ...(stateKey === undefined ? {} : { state_key: stateKey }),
        origin_server_ts: clock++,
        depth: this.tips.reduce((depth, tip) => Math.max(depth, tip.depth), 0) + 1,
        prev_events: this.tips.map((tip) => tip.eventId),
        auth_events: authEvents.map((event) => event.eventId),
      },
      name,
      key,
    )
    return { event: roomEventOf(rules, pdu, eventId), text }
  }
}
