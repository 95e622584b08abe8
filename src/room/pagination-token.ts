/**
 * Tokens of `/messages`, `/context`, `/relations` and their kin: places in the order of a room, between events. A token
 * `t<anchor>_<minor>` made of an event's order is exclusive on both sides: pages from it begin beside that event. A token
 * of `/sync` is taken everywhere too, and stands after everything that sync has shown.
 */
import { invalidParam } from '../protocol/matrix-error.js'
import { parseSyncToken } from '../protocol/sync-token.js'
import type { RoomOrder } from '../store/events.js'

export const formatRoomToken = ({ anchor, minor }: RoomOrder): string => `t${anchor}_${minor}`

const pattern = /^t(\d{1,15})_(-?\d{1,9})$/

/**
 * The exclusive end of a page (`Events.page`).
 * @throws MatrixError 400 for what never was a token of this server.
 */
export function parseRoomToken(text: string): RoomOrder {
  const match = pattern.exec(text)
  if (match !== null) return { anchor: Number(match[1]), minor: Number(match[2]) }
  if (text.startsWith('s')) return afterPosition(parseSyncToken(text).position)
  throw invalidParam('This is not a token of this server')
}

/** After everything up to a position: no event has minor 1. */
export const afterPosition = (position: number): RoomOrder => ({ anchor: position, minor: 1 })
