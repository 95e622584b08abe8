/** Brings the PDUs of a room file into an engine in any order: what is not ready for lack of parents waits for them. */
import type { EventNumber } from '../../../src/protocol/numbers.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import type { RoomName } from '../../../src/store/room-names.js'
import { eventsOf, type FiledEvent, type RoomFile } from './room-file.js'

export async function feed(engine: RoomEngine, file: RoomFile, order: readonly FiledEvent[]): Promise<RoomName> {
  const create = eventsOf(file)[0]!
  const feeder = new Feeder(engine, file, await engine.rooms.adopt({ ...create, kind: 'live' }, file.room_version))
  feeder.held.add(create.event.eventId)
  for (const event of order) await feeder.take(event)
  if (feeder.waiting.length > 0) throw new Error(`${feeder.waiting.length} events never had their parents`)
  return feeder.room
}

class Feeder {
  readonly held = new Set<string>()
  waiting: FiledEvent[] = []

  constructor(
    private readonly engine: RoomEngine,
    private readonly file: RoomFile,
    readonly room: RoomName,
  ) {}

  async take(event: FiledEvent): Promise<void> {
    if (this.held.has(event.event.eventId)) return
    this.waiting.push(event)
    for (let ready = this.nextReady(); ready !== undefined; ready = this.nextReady()) await this.receive(ready)
  }

  private nextReady(): FiledEvent | undefined {
    const ready = this.waiting.find(({ event }) =>
      [...this.parentsOf(event)].every((eventId) => this.held.has(eventId)),
    )
    this.waiting = this.waiting.filter((event) => event !== ready)
    return ready
  }

  /** What must be here first; of a prev event that is not to be had, the state that is told after it. */
  private parentsOf({ prevEvents, authEvents }: FiledEvent['event']): string[] {
    return [...authEvents, ...prevEvents.flatMap((eventId) => this.file.told[eventId] ?? [eventId])]
  }

  private async receive({ event, text }: FiledEvent): Promise<void> {
    const { rooms } = this.engine
    const stateAfter = await this.toldAfter(event.prevEvents)
    await rooms.receive(this.room, { event, text, kind: 'live', stateAfter })
    this.held.add(event.eventId)
  }

  private async toldAfter(prevEvents: readonly string[]): Promise<ReadonlyMap<string, readonly EventNumber[]>> {
    const told = new Map<string, readonly EventNumber[]>()
    for (const lost of prevEvents) {
      const state = this.file.told[lost]
      if (state === undefined) continue
      const events = await Promise.all(state.map((eventId) => this.engine.stores.events.byId(this.room.room, eventId)))
      told.set(
        lost,
        events.map((event) => event!.number),
      )
    }
    return told
  }
}
