import { isObject, own, type Json, type JsonObject } from './json.js'
import { propertyPath } from './property-path.js'

/**
 * Filters: what a client wants to have of what a request would answer.
 * https://spec.matrix.org/v1.19/client-server-api/#filtering
 *
 * Parsing checks the types of all fields we know and prepares them for use on many events; it lets unknown fields be. A
 * filter is kept and given back as the client wrote it, never as parsed.
 */

/** A filter is not what it has to be. The message says which field and what is expected, for the client's developer. */
export class FilterError extends Error {
  override readonly name = 'FilterError'
  constructor(
    /** As in the JSON: `room.timeline.limit`. Empty for the filter as a whole. */
    readonly field: string,
    expectation: string,
  ) {
    super(field === '' ? `The filter must be ${expectation}` : `${field} must be ${expectation}`)
  }
}

/** How many events a request answers when neither it nor its filter says. */
export const DEFAULT_LIMIT = 10
/** Limits above are taken for this. */
export const MAX_LIMIT = 1_000

/** An absent field restricts nothing; an empty list lets nothing through. */
export interface EventFilter {
  /** 1 to {@link MAX_LIMIT}. */
  readonly limit?: number
  readonly types?: TypePatterns
  readonly notTypes?: TypePatterns
  readonly senders?: ReadonlySet<string>
  readonly notSenders?: ReadonlySet<string>
}

/** Room ids to include and to exclude. */
export interface RoomSelection {
  readonly rooms?: ReadonlySet<string>
  readonly notRooms?: ReadonlySet<string>
}

export interface RoomEventFilter extends EventFilter, RoomSelection {
  readonly containsUrl?: boolean
  readonly lazyLoadMembers: boolean
  /** Means something together with `lazyLoadMembers` only. */
  readonly includeRedundantMembers: boolean
  readonly unreadThreadNotifications: boolean
}

export interface RoomFilter extends RoomSelection {
  readonly includeLeave: boolean
  readonly ephemeral: RoomEventFilter
  readonly state: RoomEventFilter
  readonly timeline: RoomEventFilter
  readonly accountData: RoomEventFilter
}

/** The filter of a sync. */
export interface Filter {
  /** Absent: all. */
  readonly eventFields?: EventFields
  readonly eventFormat: 'client' | 'federation'
  readonly presence: EventFilter
  readonly accountData: EventFilter
  readonly room: RoomFilter
}

/** Event types, in which `*` stands for any characters. Unlike those of push rules, case matters and `?` is itself. */
export class TypePatterns {
  readonly #exact: ReadonlySet<string>
  readonly #wild: readonly (readonly string[])[]

  constructor(readonly patterns: readonly string[]) {
    this.#exact = new Set(patterns.filter((pattern) => !pattern.includes('*')))
    this.#wild = patterns.filter((pattern) => pattern.includes('*')).map((pattern) => pattern.split('*'))
  }

  has(type: string): boolean {
    return this.#exact.has(type) || this.#wild.some((parts) => matchesParts(parts, type))
  }

  /** No event has a type that is not among these. */
  get hasAll(): boolean {
    return this.#wild.some((parts) => parts.every((part) => part === ''))
  }
}

/** `parts` are what stands around the stars; each is looked for behind the one before, the last at the end. */
function matchesParts(parts: readonly string[], text: string): boolean {
  const first = parts[0]!
  const last = parts.at(-1)!
  if (!text.startsWith(first) || !text.endsWith(last)) return false
  let at = first.length
  for (let i = 1; i < parts.length - 1; i++) {
    const found = text.indexOf(parts[i]!, at)
    if (found === -1) return false
    at = found + parts[i]!.length
  }
  return at <= text.length - last.length
}

// Use

/** What filters look at. Account data has no sender; what belongs to no room has no room id. */
export interface FilteredEvent {
  readonly type: string
  readonly sender?: string
  readonly roomId?: string
  readonly content: JsonObject
}

/** Whether an event passes. `limit` is the caller's business, and so is which members lazy-loading leaves out. */
export function eventMatches(filter: EventFilter | RoomEventFilter, event: FilteredEvent): boolean {
  const { types, notTypes, senders, notSenders } = filter
  if (types !== undefined && !types.has(event.type)) return false
  if (notTypes !== undefined && notTypes.has(event.type)) return false
  if (senders !== undefined && (event.sender === undefined || !senders.has(event.sender))) return false
  if (notSenders !== undefined && event.sender !== undefined && notSenders.has(event.sender)) return false
  return !('lazyLoadMembers' in filter) || passesRoomFilter(filter, event)
}

function passesRoomFilter(filter: RoomEventFilter, { roomId, content }: FilteredEvent): boolean {
  if (roomId !== undefined && !roomMatches(filter, roomId)) return false
  return filter.containsUrl === undefined || filter.containsUrl === Object.hasOwn(content, 'url')
}

/** Whether a room is selected at all; the exclusion wins. */
export const roomMatches = ({ rooms, notRooms }: RoomSelection, roomId: string): boolean =>
  (rooms === undefined || rooms.has(roomId)) && (notRooms === undefined || !notRooms.has(roomId))

/** Whether no event can pass, as with `types: []` or `not_types: ["*"]`: what would be filtered need not be loaded. */
export const matchesNothing = ({ types, notTypes, senders }: EventFilter): boolean =>
  types?.patterns.length === 0 || notTypes?.hasAll === true || senders?.size === 0

/** The properties to keep, as a tree of names; `true` keeps a property as a whole. */
export type EventFields = ReadonlyMap<string, EventFields | true>

/** The event with only these properties. Objects of which nothing is left are left out. */
export function selectFields(event: JsonObject, fields: EventFields): JsonObject {
  const selected: [string, Json][] = []
  for (const [name, field] of fields) {
    const value = own(event, name)
    if (value === undefined) continue
    if (field === true) selected.push([name, value])
    else if (isObject(value)) {
      const part = selectFields(value, field)
      if (Object.keys(part).length > 0) selected.push([name, part])
    }
  }
  return Object.fromEntries(selected)
}

// Parsing

/** The filter of `GET /sync` and `POST /user/{userId}/filter`. Throws {@link FilterError}. */
export function parseFilter(json: Json): Filter {
  const filter = new Fields(json, '')
  const room = filter.object('room')
  const eventFields = filter.strings('event_fields')
  return {
    eventFields: eventFields && fieldsOf(eventFields),
    eventFormat: filter.oneOf('event_format', ['client', 'federation']) ?? 'client',
    presence: eventFilterOf(filter.object('presence')),
    accountData: eventFilterOf(filter.object('account_data')),
    room: {
      ...roomSelectionOf(room),
      includeLeave: room.boolean('include_leave') ?? false,
      ephemeral: roomEventFilterOf(room.object('ephemeral')),
      state: roomEventFilterOf(room.object('state')),
      timeline: roomEventFilterOf(room.object('timeline')),
      accountData: roomEventFilterOf(room.object('account_data')),
    },
  }
}

/** The filter of requests about one room, such as `GET /rooms/{roomId}/messages`. Throws {@link FilterError}. */
export const parseRoomEventFilter = (json: Json): RoomEventFilter => roomEventFilterOf(new Fields(json, ''))

const eventFilterOf = (fields: Fields): EventFilter => ({
  limit: fields.limit('limit'),
  types: fields.types('types'),
  notTypes: fields.types('not_types'),
  senders: fields.set('senders'),
  notSenders: fields.set('not_senders'),
})

const roomSelectionOf = (fields: Fields): RoomSelection => ({
  rooms: fields.set('rooms'),
  notRooms: fields.set('not_rooms'),
})

const roomEventFilterOf = (fields: Fields): RoomEventFilter => ({
  ...eventFilterOf(fields),
  ...roomSelectionOf(fields),
  containsUrl: fields.boolean('contains_url'),
  lazyLoadMembers: fields.boolean('lazy_load_members') ?? false,
  includeRedundantMembers: fields.boolean('include_redundant_members') ?? false,
  unreadThreadNotifications: fields.boolean('unread_thread_notifications') ?? false,
})

/** Reads the fields of one object of a filter, and knows where in the filter it stands. */
class Fields {
  readonly #object: JsonObject

  constructor(
    json: Json | undefined,
    private readonly path: string,
  ) {
    if (!isObject(json)) throw new FilterError(path, 'an object')
    this.#object = json
  }

  /** An absent object is one without fields. */
  object(name: string): Fields {
    return new Fields(own(this.#object, name) ?? (Object.hasOwn(this.#object, name) ? null : {}), this.#pathOf(name))
  }

  boolean(name: string): boolean | undefined {
    const value = own(this.#object, name)
    if (value === undefined || typeof value === 'boolean') return value
    throw new FilterError(this.#pathOf(name), 'true or false')
  }

  /** The specification wants more than 0; clients that send 0 get the least there is, not an error at every start. */
  limit(name: string): number | undefined {
    const value = own(this.#object, name)
    if (value === undefined) return undefined
    if (!Number.isInteger(value) || (value as number) < 0)
      throw new FilterError(this.#pathOf(name), 'a positive integer')
    return Math.max(1, Math.min(value as number, MAX_LIMIT))
  }

  strings(name: string): readonly string[] | undefined {
    const value = own(this.#object, name)
    if (value === undefined) return undefined
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
    throw new FilterError(this.#pathOf(name), 'a list of strings')
  }

  set(name: string): ReadonlySet<string> | undefined {
    const strings = this.strings(name)
    return strings && new Set(strings)
  }

  types(name: string): TypePatterns | undefined {
    const strings = this.strings(name)
    return strings && new TypePatterns(strings)
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const value = own(this.#object, name)
    if (value === undefined) return undefined
    const known = values.find((one) => one === value)
    if (known === undefined) throw new FilterError(this.#pathOf(name), values.map((one) => `"${one}"`).join(' or '))
    return known
  }

  #pathOf(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }
}

function fieldsOf(keys: readonly string[]): EventFields {
  const root = new Map<string, EventFields | true>()
  for (const key of keys) addField(root, propertyPath(key))
  return root
}

/** A property that is kept as a whole stays so, whatever is asked for inside of it. */
function addField(fields: Map<string, EventFields | true>, path: readonly string[]): void {
  for (const [i, name] of path.entries()) {
    const field = fields.get(name)
    if (field === true) return
    if (i === path.length - 1) {
      fields.set(name, true)
      return
    }
    const below = (field ?? new Map()) as Map<string, EventFields | true>
    fields.set(name, below)
    fields = below
  }
}

/** A filter that lets everything through, without lazy-loading. */
export const noFilter: Filter = parseFilter({})
