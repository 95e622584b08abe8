import { describe, expect, it } from '@jest/globals'
import { eventually } from '../support/eventually.js'
import { startFederation, type FederatedServer } from '../support/federation.js'
import type { TestUser } from '../support/test-user.js'

const [one, two] = (await startFederation(2, { environment: { PRESENCE: 'federated' } })) as [
  FederatedServer,
  FederatedServer,
]

const v3 = '/_matrix/client/v3'
const path = ({ userId }: TestUser) => `${v3}/presence/${encodeURIComponent(userId)}/status`

async function pair(here: FederatedServer, there: FederatedServer) {
  const [alice, bob] = [await here.user(), await there.user()]
  const room = await alice.createRoom()
  await bob.ok('POST', `${v3}/join/${encodeURIComponent(room)}?via=${here.name}`, {})
  return { alice, bob, room }
}

/** Until the one sees the other so, in syncs. Resolves with the content. */
async function sees(viewer: TestUser, { userId }: TestUser, presence: string, statusMsg?: string) {
  let since: string | undefined
  return eventually(
    `${viewer.userId} sees ${userId} ${presence}`,
    async () => {
      const answer = await viewer.sync({ since, timeout: 1_000, set_presence: 'offline' })
      since = answer.next_batch
      const events: { sender: string; content: { presence: string; status_msg?: string } }[] =
        answer.presence?.events ?? []
      return events.find(
        ({ sender, content }) => sender === userId && content.presence === presence && content.status_msg === statusMsg,
      )?.content
    },
    { within: 20_000 },
  )
}

describe('presence between two servers', () => {
  it('is seen both ways, when it is asked for too', async () => {
    const { alice, bob } = await pair(one, two)
    await alice.syncToken()
    expect(await sees(bob, alice, 'online')).toMatchObject({ currently_active: true })
    expect((await bob.get(path(alice))).body).toMatchObject({ presence: 'online' })
    await bob.put(path(bob), { presence: 'unavailable', status_msg: 'Making cupcakes' })
    await sees(alice, bob, 'unavailable', 'Making cupcakes')
  }, 60_000)

  it('is told to nobody else', async () => {
    const { alice, bob } = await pair(one, two)
    const stranger = await two.user()
    await alice.syncToken()
    await sees(bob, alice, 'online')
    expect((await stranger.sync()).presence).toBeUndefined()
    expect((await stranger.get(path(alice))).status).toBe(403)
  }, 60_000)
})
