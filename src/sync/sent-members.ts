import type { DeviceNumber, EventNumber, Position, RoomNumber } from '../protocol/numbers.js'

/** Of each view; the oldest make room. A client that is sent one again is none the worse. */
const MAX_SENT = 500

/**
 * Member events that devices have been sent for lazy-loading, so that a conversation does not repeat its members with
 * every message. A member counts as sent when the device shows a token of the answer it was in, or of a later one: an
 * answer that was lost on its way is not taken for received.
 */
export class SentMembers {
  /** The oldest first. An LRU cache would cost every view some ten kilobytes before its first entry. */
  private sent: Map<string, { readonly event: EventNumber; readonly at: Position }> | undefined

  get size(): number {
    return this.sent?.size ?? 0
  }

  /** The device begins anew: with the room, or with all of them. */
  forget(device: DeviceNumber, room?: RoomNumber): void {
    const prefix = room === undefined ? `${device} ` : `${device} ${room} `
    for (const key of this.sent?.keys() ?? []) if (key.startsWith(prefix)) this.sent!.delete(key)
  }

  has(device: DeviceNumber, room: RoomNumber, userId: string, event: EventNumber, since: Position): boolean {
    const sent = this.sent?.get(`${device} ${room} ${userId}`)
    return sent !== undefined && sent.event === event && sent.at <= since
  }

  /** `at`: the position of the answer. */
  note(device: DeviceNumber, room: RoomNumber, userId: string, event: EventNumber, at: Position): void {
    const sent = (this.sent ??= new Map())
    const key = `${device} ${room} ${userId}`
    sent.delete(key)
    sent.set(key, { event, at })
    if (sent.size > MAX_SENT) sent.delete(sent.keys().next().value!)
  }
}
