import type { Endpoint } from '../http/endpoint.js'
import { changePassword } from './account-management/change-password.js'
import { checkUsernameAvailability } from './account-management/check-username-availability.js'
import { getAccount3Pids } from './account-management/get-account-3pids.js'
import { register } from './account-management/register.js'
import { registrationTokenValidity } from './account-management/registration-token-validity.js'
import { getCapabilities } from './capabilities/get-capabilities.js'
import { deleteDevice, deleteDevices, getDevice, getDevices, updateDevice } from './device-management/devices.js'
import { claimKeys } from './end-to-end-encryption/claim-keys.js'
import { getKeysChanges } from './end-to-end-encryption/get-keys-changes.js'
import { queryKeys } from './end-to-end-encryption/query-keys.js'
import { uploadKeys } from './end-to-end-encryption/upload-keys.js'
import { requestOpenIdToken } from './openid/request-open-id-token.js'
import { home } from './pages/home.js'
import { getSetup, postSetup } from './pages/setup.js'
import { getPresence, setPresence } from './presence/presence-status.js'
import { getPushers } from './push-notifications/get-pushers.js'
import {
  getPushRule,
  getPushRuleActions,
  getPushRules,
  getPushRulesGlobal,
  isPushRuleEnabled,
} from './push-notifications/push-rules.js'
import { setReadMarker } from './read-markers/set-read-marker.js'
import { createRoom } from './room-creation/create-room.js'
import { getLocalAliases } from './room-directory/get-local-aliases.js'
import { deleteRoomAlias, getRoomIdByAlias, setRoomAlias } from './room-directory/room-alias.js'
import { getPublicRooms, queryPublicRooms } from './room-discovery/public-rooms.js'
import { getRoomSummary } from './room-discovery/get-room-summary.js'
import { getRoomVisibilityOnDirectory, setRoomVisibilityOnDirectory } from './room-discovery/room-visibility.js'
import { forgetRoom } from './room-membership/forget-room.js'
import { getJoinedRooms } from './room-membership/get-joined-rooms.js'
import { inviteUser } from './room-membership/invite-user.js'
import { joinRoom, joinRoomById } from './room-membership/join-room.js'
import { ban, kick, unban } from './room-membership/kick.js'
import { knockRoom } from './room-membership/knock-room.js'
import { leaveRoom } from './room-membership/leave-room.js'
import { defineFilter, getFilter } from './room-participation/filter.js'
import { getEventByTimestamp } from './room-participation/get-event-by-timestamp.js'
import { getEventContext } from './room-participation/get-event-context.js'
import { getJoinedMembersByRoom, getMembersByRoom } from './room-participation/get-members-by-room.js'
import { getOneRoomEvent } from './room-participation/get-one-room-event.js'
import { getRoomEvents } from './room-participation/get-room-events.js'
import { postReceipt } from './room-participation/post-receipt.js'
import { redactEvent } from './room-participation/redact-event.js'
import { getRoomState, getRoomStateWithKey, setRoomStateWithKey } from './room-participation/room-state.js'
import { sendMessage } from './room-participation/send-message.js'
import { setTyping } from './room-participation/set-typing.js'
import { sync } from './room-participation/sync.js'
import { upgradeRoom } from './room-upgrades/upgrade-room.js'
import { sendToDevice } from './send-to-device-messaging/send-to-device.js'
import { getVersions } from './server-administration/get-versions.js'
import { getWellknown } from './server-administration/get-wellknown.js'
import { health } from './server-administration/health.js'
import type { Services } from './services.js'
import { getTokenOwner } from './session-management/get-token-owner.js'
import { getLoginFlows, login } from './session-management/login.js'
import { logout, logoutAll } from './session-management/logout.js'
import { getSpaceHierarchy } from './spaces/get-space-hierarchy.js'
import { getRegistrationNonce, registerBySharedSecret } from './synapse-admin/register.js'
import { getProtocols } from './third-party-lookup/get-protocols.js'
import {
  getAccountData,
  getAccountDataPerRoom,
  setAccountData,
  setAccountDataPerRoom,
} from './user-data/account-data.js'
import { deleteProfileField, getProfileField, getUserProfile, setProfileField } from './user-data/profile.js'
import { deleteRoomTag, getRoomTags, setRoomTag } from './user-data/tags.js'
import { searchUserDirectory } from './user-directory/search-user-directory.js'
import { getTurnServer } from './voip/get-turn-server.js'

/** All endpoints that clients, browsers and tools call. */
export const routes: readonly Endpoint<Services>[] = [
  // Pages
  home,
  getSetup,
  postSetup,
  // Server administration
  getVersions,
  getWellknown,
  health,
  // Session management
  getLoginFlows,
  login,
  logout,
  logoutAll,
  getTokenOwner,
  // Account management
  register,
  checkUsernameAvailability,
  registrationTokenValidity,
  changePassword,
  getAccount3Pids,
  // Capabilities
  getCapabilities,
  // Device management
  getDevices,
  getDevice,
  updateDevice,
  deleteDevice,
  deleteDevices,
  // User data
  getUserProfile,
  getProfileField,
  setProfileField,
  deleteProfileField,
  getAccountData,
  setAccountData,
  getAccountDataPerRoom,
  setAccountDataPerRoom,
  getRoomTags,
  setRoomTag,
  deleteRoomTag,
  searchUserDirectory,
  requestOpenIdToken,
  // Push notifications
  getPushers,
  getPushRules,
  getPushRulesGlobal,
  getPushRule,
  isPushRuleEnabled,
  getPushRuleActions,
  // Receipts, read markers and typing
  postReceipt,
  setReadMarker,
  setTyping,
  // Presence
  setPresence,
  getPresence,
  // End-to-end encryption
  uploadKeys,
  queryKeys,
  claimKeys,
  getKeysChanges,
  sendToDevice,
  // Voice over IP, third-party networks
  getTurnServer,
  getProtocols,
  // The admin API of Synapse
  getRegistrationNonce,
  registerBySharedSecret,
  // Room creation
  createRoom,
  // Room membership
  joinRoomById,
  joinRoom,
  knockRoom,
  leaveRoom,
  forgetRoom,
  inviteUser,
  kick,
  ban,
  unban,
  getJoinedRooms,
  // Room upgrades
  upgradeRoom,
  // Room directory
  getRoomIdByAlias,
  setRoomAlias,
  deleteRoomAlias,
  getLocalAliases,
  // Room discovery
  getRoomVisibilityOnDirectory,
  setRoomVisibilityOnDirectory,
  getPublicRooms,
  queryPublicRooms,
  getRoomSummary,
  getSpaceHierarchy,
  // Room participation
  sync,
  defineFilter,
  getFilter,
  sendMessage,
  redactEvent,
  getRoomState,
  getRoomStateWithKey,
  setRoomStateWithKey,
  getRoomEvents,
  getOneRoomEvent,
  getEventContext,
  getEventByTimestamp,
  getMembersByRoom,
  getJoinedMembersByRoom,
]
