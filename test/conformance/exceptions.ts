import type { Auth } from '../../src/http/endpoint.js'
import type { Exception } from './conformance.js'
import type { Schema } from './specification.js'

/** Endpoints that are none of the specification's. */
export const ours = ['home', 'getSetup', 'postSetup', 'health', 'synapseAdminRegisterNonce', 'synapseAdminRegister']

/** Where we ask for more or less than the specification. */
export const authExceptions: Readonly<Record<string, Auth>> = {
  // With a token the answer may differ, and here it does not.
  getVersions: 'none',
  // Without a token, too, for rooms that anybody could join, knock on or look into.
  getRoomSummary: 'optional',
  // Without a token an e-mail address or a phone number vouches for the user, and accounts have none.
  changePassword: 'access-token',
}

export const exceptions: Exception[] = [
  {
    operationId: 'getTurnServer',
    fault: /must have required property/,
    reason: 'There is no answer for a server without TURN; browsers refuse an empty list of URIs, clients take {}',
  },
  {
    operationId: 'getRoomStateWithKey',
    fault: /^ must match exactly one schema in oneOf|^\/\w+ is not in/,
    reason:
      'The schema is one of any object and an event: an event is both, and the content of a state event is its own',
  },
  {
    operationId: 'claimKeys',
    fault: /\/fallback is not in/,
    reason: 'A signed fallback key says that it is one, as the upload asks for; the schema of the answer forgot it',
  },
  {
    operationId: 'sync',
    fault: /^\/org\.matrix\.msc2732\.device_unused_fallback_key_types is not in/,
    reason: 'What clients look for that began with fallback keys before the specification did',
  },
  {
    operationId: 'any',
    fault: /\/unsigned\/prev_sender is not in/,
    reason: 'Never specified, and read by matrix-js-sdk: who sent the invite that a leave replaced',
  },
  {
    operationId: 'any',
    fault: /^\/\S+\/redacts is not in/,
    reason: 'In the schema of m.room.redaction, not in that of events of any type',
  },
  {
    operationId: 'any',
    fault: /^m\.room\.message: \/content\/m\.(mentions|relates_to) is not in/,
    reason: 'Mentions and relations are described apart, for messages of all kinds',
  },
]

/** What the prose says of a sync and the files leave open. */
const eventsOf = (properties: object) => ({
  type: 'object',
  required: ['events'],
  properties: { events: { type: 'array', items: { type: 'object', required: Object.keys(properties), properties } } },
})
const users = { type: 'array', items: { type: 'string', pattern: '^@' } }
export const additions: Readonly<Record<string, Schema>> = {
  sync: {
    type: 'object',
    required: ['device_unused_fallback_key_types'],
    properties: {
      device_unused_fallback_key_types: { type: 'array', items: { type: 'string' } },
      device_lists: { type: 'object', properties: { changed: users, left: users } },
      presence: eventsOf({ type: { type: 'string' }, sender: { type: 'string' }, content: { type: 'object' } }),
      to_device: eventsOf({ type: { type: 'string' }, sender: { type: 'string' }, content: { type: 'object' } }),
    },
  },
}

/** Endpoints for servers that are not in the files: what older servers ask, and what identity servers do. */
export const serversOurs = ['sendJoinV1', 'sendLeaveV1', 'onBindThirdPartyIdentifierByPost']

/** As `authExceptions`. */
export const serverAuthExceptions: Readonly<Record<string, Auth>> = {
  // The file speaks of an access token, the text around it of servers.
  getEventByTimestamp: 'signed-request',
}

export const serverExceptions: Exception[] = [
  ...['sendJoinV1', 'sendLeaveV1'].map((operationId) => ({
    operationId,
    fault: /^is no answer that the specification knows$/,
    reason: 'Gone from the specification, and still asked by older servers',
  })),
  {
    operationId: 'any',
    fault: /^(\/1)?\/(pdus|auth_chain|knock_room_state|event)(\/\d+)?\/\w+ is not in/,
    reason: 'PDUs have a schema for each room version, against which they are held',
  },
  {
    operationId: 'any',
    fault: /^PDU of type \S+: \/(unsigned\/\w+|origin) is not in/,
    reason: 'What the origin adds outside of what it signs, and the origin that events named until it was dropped',
  },
  {
    operationId: 'any',
    fault: /\/event must have required property 'origin'$/,
    reason: 'The event is as the inviting server made it; no room version asks for its origin any more',
  },
  {
    operationId: 'sendInviteV1',
    fault: /^\/1 must (be integer|match a schema in anyOf)$/,
    reason: 'What the schema leaves of an array of 200 and an object, when the object is one that lacks its origin',
  },
  {
    operationId: 'any',
    fault: /^PDU of type m\.room\.create: {2}must have required property 'room_id'$/,
    reason: 'In version 12 the create event is what the room id is made of, and has none',
  },
]
