import { identityToken } from '../../../test/support/identity-server.js'
import type { Answer } from '../../../test/support/http.js'
import type { TestUser } from '../../../test/support/test-user.js'
import { inSync, joinVia, roomPath, same, sees, setState, soon, stateContent } from '../actions.js'
import type { Scenario, Stage } from '../scenario.js'

/** Resolves with the token of the invite. */
async function inviteAddress({ identity }: Stage, user: TestUser, roomId: string): Promise<string> {
  await user.ok('POST', roomPath(roomId, 'invite'), {
    id_server: identity.name,
    id_access_token: identityToken,
    medium: 'email',
    address: 'carol@example.org',
  })
  return [...identity.kept.keys()].at(-1)!
}

/** The identity server tells the user's server whose the address is. */
const bind = ({ identity }: Stage, user: TestUser, token: string): Promise<Answer> =>
  user.post('/_matrix/federation/v1/3pid/onbind', identity.bind(user.userId, token))

const hears = (user: TestUser, roomId: string, token: string): Promise<unknown> =>
  soon(`${user.userId} has the invite`, async () => {
    const { display_name } = await stateContent(user, roomId, 'm.room.third_party_invite', token)
    return display_name
  })

export const thirdPartyInvites: readonly Scenario[] = [
  ...['6', '10', '11', '12'].map((version): Scenario => ({
    name: `version ${version}: an address is invited, and turns out to be of a user of the other server`,
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room({ preset: 'private_chat', room_version: version })
      const token = await inviteAddress(stage, alice, roomId)
      same('the answer to the bind', (await bind(stage, bob, token)).status, 200)
      await inSync(bob, 'invite', roomId)
      await sees(alice, roomId, bob, 'invite')
      await bob.join(roomId)
      await sees(alice, roomId, bob, 'join')
    },
  })),
  {
    name: 'an address is invited from the other server, and turns out to be of a user of this one',
    async play(stage) {
      const { alice, bob, home } = stage
      const roomId = await stage.shared({ preset: 'public_chat', power_level_content_override: { invite: 0 } })
      const token = await inviteAddress(stage, bob, roomId)
      await hears(alice, roomId, token)
      await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'invite' })
      const anna = await home.user()
      same('the answer to the bind', (await bind(stage, anna, token)).status, 200)
      await inSync(anna, 'invite', roomId)
      await anna.join(roomId)
      await sees(bob, roomId, anna, 'join')
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'an address is invited, and the invite is taken back before it is bound',
    async play(stage) {
      const { alice, bob, home } = stage
      const roomId = await stage.room({ preset: 'private_chat' })
      const token = await inviteAddress(stage, alice, roomId)
      await setState(alice, roomId, 'm.room.third_party_invite', {}, token)
      await bind(stage, bob, token)
      await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'public' })
      await joinVia(bob, roomId, home.name)
      await sees(alice, roomId, bob, 'join')
      const { membership } = (await bob.ok('GET', roomPath(roomId, 'messages') + '?dir=b&limit=50')).chunk.find(
        ({ state_key }: { state_key?: string }) => state_key === bob.userId,
      ).content
      same('bob came', membership, 'join')
    },
  },
]
