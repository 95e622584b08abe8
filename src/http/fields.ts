import { Type, type Static, type TSchema } from 'typebox'
import type { JsonObject } from '../protocol/json.js'
import { isEventId, isRoomAlias, isRoomId, isServerName, isUserId } from '../protocol/identifiers.js'

/** The formats schemas can name, as the specification's OpenAPI names them, and how a refusal calls them. */
export const formats: Readonly<Record<string, { matches: (text: string) => boolean; name: string }>> = {
  'mx-user-id': { matches: isUserId, name: 'a user id such as @alice:example.org' },
  'mx-room-id': { matches: isRoomId, name: 'a room id' },
  'mx-room-alias': { matches: isRoomAlias, name: 'a room alias such as #room:example.org' },
  'mx-event-id': { matches: isEventId, name: 'an event id' },
  'mx-server-name': { matches: isServerName, name: 'a server name' },
  /** Postgres keeps no U+0000 in a text. In event content it is legal, and event content is not checked by this. */
  'no-nul': { matches: (text) => !text.includes('\0'), name: 'a string without U+0000' },
}

export const userId = Type.String({ format: 'mx-user-id' })
export const roomId = Type.String({ format: 'mx-room-id' })
export const roomAlias = Type.String({ format: 'mx-room-alias' })
export const eventId = Type.String({ format: 'mx-event-id' })
export const serverName = Type.String({ format: 'mx-server-name' })

/** A text we keep in a column of type text: names people give, ids clients choose. */
export const text = (maxLength: number, minLength = 0) => Type.String({ format: 'no-nul', minLength, maxLength })

/** An id that a client chose for its device. */
export const deviceId = text(255, 1)

/** Any object, left as it is: event content, and what is looked at by hand. */
export const jsonObject = Type.Unsafe<JsonObject>(Type.Object({}))

/** An object whose keys clients choose. Look values up with `Object.entries` or `own`: a key may be `__proto__`. */
export const mapOf = <T extends TSchema>(value: T) =>
  Type.Unsafe<Record<string, Static<T>>>(Type.Object({}, { additionalProperties: value }))

/** The answer to user-interactive authentication, which looks into it itself. */
export const auth = Type.Optional(jsonObject)

/** As clients and servers search a directory. */
export const publicRoomsFilter = Type.Object({
  generic_search_term: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  room_types: Type.Optional(Type.Union([Type.Array(Type.Union([Type.String(), Type.Null()])), Type.Null()])),
})
