/**
 * Tokens of `/messages`, `/context`, `/relations` and their kin: places in the order of a room, between events, from which
 * it can be read in both directions. `t<anchor>_<minor>` stands right after the event with this order, or after where it
 * would be. A token of `/sync` is taken everywhere too, and stands after everything that sync has shown.
 */
import { invalidParam } from '../protocol/matrix-error.js'
import type { Position } from '../protocol/numbers.js'
import { parseSyncToken } from '../protocol/sync-token.js'
import type { RoomOrder } from '../store/events.js'
import type { StoredEvent } from '../store/stored-event.js'

/** Between the event with this order and the next one; minors are integers. */
export interface RoomPlace {
  readonly anchor: number
  readonly minor: number
}

export const formatRoomToken = ({ anchor, minor }: RoomPlace): string => `t${anchor}_${minor}`

const pattern = /^t(\d{1,15})_(-?\d{1,9})$/

/** @throws MatrixError 400 for what never was a token of this server. */
export function parseRoomToken(text: string): RoomPlace {
  const match = pattern.exec(text)
  if (match !== null) return { anchor: Number(match[1]), minor: Number(match[2]) }
  if (text.startsWith('s')) return afterPosition(parseSyncToken(text).position)
  throw invalidParam('This is not a token of this server')
}

/** After everything up to a position: live events have minor 0. */
export const afterPosition = (position: number): RoomPlace => ({ anchor: position, minor: 0 })

/** The events must have an order: outliers have no place. */
export const beforeEvent = ({ anchor, minor }: StoredEvent): RoomPlace => ({ anchor: anchor!, minor: minor - 1 })
export const afterEvent = ({ anchor, minor }: StoredEvent): RoomPlace => ({ anchor: anchor!, minor })

/** The exclusive bounds of a page (`Events.page`) that begins, or ends, at a place. */
export const lastBefore = ({ anchor, minor }: RoomPlace): RoomOrder => ({ anchor, minor })
export const firstAfter = ({ anchor, minor }: RoomPlace): RoomOrder => ({ anchor, minor: minor + 1 })

/** The newest position before a place. */
export const positionBefore = ({ anchor, minor }: RoomPlace): Position => (minor < 0 ? anchor - 1 : anchor) as Position

export const isEarlier = (left: RoomPlace, right: RoomPlace): boolean =>
  left.anchor < right.anchor || (left.anchor === right.anchor && left.minor < right.minor)
