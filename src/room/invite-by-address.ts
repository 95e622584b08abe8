/**
 * Inviting somebody by an e-mail address or another third-party identifier: whom the identity server that the client names
 * knows by it is invited as anybody; for who is not known yet it keeps the invite, and the room is told of the keys by
 * which it will say who that is. https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
 */
import type { JsonObject } from '../protocol/json.js'
import { profile } from '../store/profiles.js'
import type { Draft } from './draft.js'
import type { KnownRoom } from './known-room.js'
import { invite, type InviteDeps } from './membership-changes.js'
import { proposeEvent } from './proposed-event.js'

/** A user's account on an identity server. */
export interface IdentityAccount {
  /** Host name, with a port or not. */
  readonly server: string
  readonly accessToken: string
}

export interface Address {
  /** `email`, `msisdn` … */
  readonly medium: string
  readonly address: string
}

/** An invite that waits at an identity server for who has the address. */
export interface KeptInvite {
  readonly token: string
  /** What the room is shown in place of the address. */
  readonly displayName: string
  readonly publicKeys: readonly [PublicKey, ...PublicKey[]]
}

// A type and not an interface: it is content of an event.
type PublicKey = { readonly public_key: string; readonly key_validity_url: string }

export interface IdentityService {
  /** @throws MatrixError, as all of them */
  lookUp(account: IdentityAccount, address: Address, signal?: AbortSignal): Promise<string | undefined>
  /** Or who has the address by now. */
  keepInvite(
    account: IdentityAccount,
    invite: JsonObject,
    signal?: AbortSignal,
  ): Promise<KeptInvite | { readonly userId: string }>
}

export interface InviteByAddressDeps extends InviteDeps {
  readonly identityServers: IdentityService
}

/** As clients write it. */
export interface AddressToInvite extends Address {
  readonly id_server: string
  readonly id_access_token: string
}

/** @throws MatrixError */
export async function inviteByAddress(
  deps: InviteByAddressDeps,
  name: KnownRoom,
  sender: string,
  whom: AddressToInvite,
  signal?: AbortSignal,
): Promise<void> {
  const { rooms, identityServers } = deps
  const account = { server: whom.id_server, accessToken: whom.id_access_token }
  const canonical = canonicalAddress(whom)
  // Nobody is written an e-mail by who may not invite. The identity server makes the token; the rules do not look at it.
  await proposeEvent(rooms, name, offer(sender, 'token', {}))
  const known = await identityServers.lookUp(account, canonical, signal)
  if (known !== undefined) return void (await invite(deps, name, sender, known, {}))

  const details = await inviteDetails(deps, name, sender)
  const kept = await identityServers.keepInvite(account, { ...details, ...canonical }, signal)
  if ('userId' in kept) return void (await invite(deps, name, sender, kept.userId, {}))
  const { token, displayName, publicKeys } = kept
  const content = { display_name: displayName, ...publicKeys[0], public_keys: publicKeys }
  await rooms.send(name, offer(sender, token, content))
}

const offer = (sender: string, token: string, content: JsonObject): Draft => ({
  type: 'm.room.third_party_invite',
  stateKey: token,
  sender,
  content,
})

/** "servers must apply Unicode case-folding to email addresses" https://spec.matrix.org/v1.19/appendices/#3pid-types */
const canonicalAddress = ({ medium, address }: Address): Address => ({
  medium,
  address: medium === 'email' ? address.toLowerCase() : address,
})

/** "Optional fields in the request should be populated to the best of the server's ability": they stand in the e-mail. */
async function inviteDetails({ db, rooms }: InviteDeps, name: KnownRoom, sender: string): Promise<JsonObject> {
  const [summary, { displayname, avatar_url }] = await Promise.all([rooms.summary(name), profile(db, sender)])
  const details = {
    room_id: name.roomId,
    sender,
    room_alias: summary.canonical_alias,
    room_avatar_url: summary.avatar_url,
    room_join_rules: summary.join_rule,
    room_name: summary.name,
    room_type: summary.room_type,
    sender_display_name: displayname,
    sender_avatar_url: avatar_url,
  }
  return Object.fromEntries(Object.entries(details).filter(([, value]) => typeof value === 'string')) as JsonObject
}
