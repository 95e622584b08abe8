import { FilterError, parseRoomEventFilter, type RoomEventFilter } from '../../protocol/filter.js'
import type { Json } from '../../protocol/json.js'
import { badJson, invalidParam } from '../../protocol/matrix-error.js'
import { JsonError, parseJson } from '../../protocol/strict-json.js'

/** A `RoomEventFilter` as JSON in a query; absent, it lets everything through. @throws MatrixError 400 */
export function eventFilter(text: string | undefined): RoomEventFilter {
  try {
    return parseRoomEventFilter(text === undefined ? {} : json(text))
  } catch (cause) {
    if (cause instanceof FilterError) throw badJson(`query.filter: ${cause.message}`)
    throw cause
  }
}

function json(text: string): Json {
  try {
    return parseJson(text).value
  } catch (cause) {
    if (cause instanceof JsonError) throw invalidParam('query.filter is not JSON')
    throw cause
  }
}
