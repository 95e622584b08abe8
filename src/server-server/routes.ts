import type { Endpoint } from '../http/endpoint.js'
import { backfillRoom } from './backfill/backfill-room.js'
import { getMissingPreviousEvents } from './backfill/get-missing-previous-events.js'
import { getEventAuth } from './event_auth/get-event-auth.js'
import { getEventByTimestamp } from './events/get-event-by-timestamp.js'
import { getEvent } from './events/get-event.js'
import { getRoomStateIds } from './events/get-room-state-ids.js'
import { getRoomState } from './events/get-room-state.js'
import { sendInviteV1 } from './invites-v1/send-invite-v1.js'
import { sendInviteV2 } from './invites-v2/send-invite-v2.js'
import { makeJoin } from './joins-v1/make-join.js'
import { sendJoinV1 } from './joins-v1/send-join-v1.js'
import { sendJoinV2 } from './joins-v2/send-join-v2.js'
import { makeKnock } from './knocks/make-knock.js'
import { bulkPerspectivesKeyQuery } from './keys_query/bulk-perspectives-key-query.js'
import { perspectivesKeyQuery } from './keys_query/perspectives-key-query.js'
import { getServerKey } from './keys_server/get-server-key.js'
import { sendKnock } from './knocks/send-knock.js'
import { makeLeave } from './leaving-v1/make-leave.js'
import { sendLeaveV1 } from './leaving-v1/send-leave-v1.js'
import { sendLeaveV2 } from './leaving-v2/send-leave-v2.js'
import { exchangeOpenIdToken } from './openid/exchange-open-id-token.js'
import { getPublicRooms, queryPublicRooms } from './public_rooms/public-rooms.js'
import { queryInfo } from './query/query-info.js'
import { queryProfile } from './query/query-profile.js'
import { queryRoomDirectory } from './query/query-room-directory.js'
import type { ServerServices } from './services.js'
import { getSpaceHierarchy } from './space_hierarchy/get-space-hierarchy.js'
import { getVersion } from './version/get-version.js'
import { getWellKnown } from './wellknown/get-well-known.js'
import { exchangeThirdPartyInvite } from './third_party_invite/exchange-third-party-invite.js'
import {
  onBindThirdPartyIdentifier,
  onBindThirdPartyIdentifierByPost,
} from './third_party_invite/on-bind-third-party-identifier.js'
import { sendTransaction } from './transactions/send-transaction.js'
import { getUserDevices } from './user_devices/get-user-devices.js'
import { claimUserEncryptionKeys } from './user_keys/claim-user-encryption-keys.js'
import { queryUserEncryptionKeys } from './user_keys/query-user-encryption-keys.js'

/** Every endpoint for other servers, in the order of the specification's OpenAPI. Adding one is one file, one line here, one test. */
export const routes: readonly Endpoint<ServerServices>[] = [
  // Who we are, and with which keys
  getWellKnown,
  getVersion,
  getServerKey,
  perspectivesKeyQuery,
  bulkPerspectivesKeyQuery,
  // Transactions, events, backfill
  sendTransaction,
  getEventAuth,
  backfillRoom,
  getMissingPreviousEvents,
  getRoomState,
  getRoomStateIds,
  getEvent,
  getEventByTimestamp,
  // OpenID, public rooms, queries
  exchangeOpenIdToken,
  getPublicRooms,
  queryPublicRooms,
  queryRoomDirectory,
  queryProfile,
  queryInfo,
  getSpaceHierarchy,
  // Joins, leaving, knocks, invites
  makeJoin,
  sendJoinV1,
  sendJoinV2,
  makeLeave,
  sendLeaveV1,
  sendLeaveV2,
  makeKnock,
  sendKnock,
  sendInviteV1,
  sendInviteV2,
  exchangeThirdPartyInvite,
  onBindThirdPartyIdentifier,
  onBindThirdPartyIdentifierByPost,
  // Devices and keys of users
  getUserDevices,
  claimUserEncryptionKeys,
  queryUserEncryptionKeys,
]
