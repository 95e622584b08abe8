/** The rooms of a space, as its `m.space.child` events name them. https://spec.matrix.org/v1.19/client-server-api/#mspacechild */
import { isRoomId, isServerName } from '../protocol/identifiers.js'
import { own, ownString, type JsonObject } from '../protocol/json.js'

/** Stripped state, with a time to order by. */
export interface SpaceChild {
  readonly type: 'm.space.child'
  /** A room id. */
  readonly state_key: string
  readonly sender: string
  readonly content: JsonObject
  readonly origin_server_ts: number
}

/** Of the content, in UTF-16 units: an answer has many of them. */
const MAX_LENGTH = 4_096

/** "If not present … the child room is not considered part of the space." */
export const isChild = ({ state_key, content }: SpaceChild): boolean =>
  isRoomId(state_key) && viaOf(content).length > 0 && JSON.stringify(content).length <= MAX_LENGTH

export const isSuggested = ({ content }: SpaceChild): boolean => own(content, 'suggested') === true

/** The servers that may know the room. */
export function viaOf(content: JsonObject): string[] {
  const via = own(content, 'via')
  return Array.isArray(via) ? via.filter((name): name is string => typeof name === 'string' && isServerName(name)) : []
}

/** Those with an order first, by it; then by the time of the event, and by room id. */
export const inOrder = (children: readonly SpaceChild[]): SpaceChild[] =>
  children
    .map((child) => ({ child, order: orderOf(child.content) }))
    .sort(
      (left, right) =>
        compare(left.order ?? AFTER_ALL, right.order ?? AFTER_ALL) ||
        left.child.origin_server_ts - right.child.origin_server_ts ||
        compare(left.child.state_key, right.child.state_key),
    )
    .map(({ child }) => child)

/** An order is made of characters from U+0020 to U+007E. */
const AFTER_ALL = '\x7f'

function orderOf(content: JsonObject): string | undefined {
  const order = ownString(content, 'order')
  return order !== undefined && /^[\x20-\x7e]{1,50}$/.test(order) ? order : undefined
}

const compare = (left: string, right: string): number => (left < right ? -1 : Number(left > right))
