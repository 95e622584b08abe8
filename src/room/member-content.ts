import type { JsonObject } from '../protocol/json.js'
import type { Membership } from '../store/facts.js'
import type { Profile } from '../store/profiles.js'

/**
 * The content of an `m.room.member` event with the profile of its target, as those who are not in a room yet, or newly
 * in it, are shown. What `more` says stands above it.
 */
export const memberContent = (
  membership: Membership,
  profile: Profile | undefined,
  more: JsonObject = {},
): JsonObject => ({
  ...(profile?.displayname !== undefined && { displayname: profile.displayname }),
  ...(profile?.avatar_url !== undefined && { avatar_url: profile.avatar_url }),
  ...more,
  membership,
})
