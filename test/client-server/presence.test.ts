import { describe, expect, it } from '@jest/globals'
import { eventually } from '../support/eventually.js'
import { startTestHomeserver, type TestHomeserver, type TestUser } from '../support/homeserver.js'

const homeserver = await startTestHomeserver({ environment: { PRESENCE: 'local' } })
const off = await startTestHomeserver({ environment: { PRESENCE: 'off' } })

const path = ({ userId }: TestUser) => `/_matrix/client/v3/presence/${encodeURIComponent(userId)}/status`
const put = (user: TestUser, body: object, of = user) => user.put(path(of), body)

async function pair(server: TestHomeserver = homeserver) {
  const [alice, bob] = [await server.user(), await server.user()]
  const room = await alice.createRoom()
  await bob.join(room)
  return { alice, bob, room }
}

describe('presence', () => {
  it('that is set is shown to who asks, and to who syncs', async () => {
    const { alice, bob } = await pair()
    const since = await bob.syncToken()
    const poll = bob.sync({ since, timeout: 20_000, set_presence: 'offline' })
    expect(await put(alice, { presence: 'online', status_msg: 'Making cupcakes' })).toMatchObject({
      status: 200,
      body: {},
    })
    const content = {
      presence: 'online',
      status_msg: 'Making cupcakes',
      last_active_ago: expect.any(Number),
      currently_active: true,
    }
    expect((await bob.get(path(alice))).body).toEqual(content)
    expect((await poll).presence.events).toEqual([{ type: 'm.presence', sender: alice.userId, content }])
    await put(alice, { presence: 'unavailable' })
    expect((await bob.get(path(alice))).body).toEqual({ presence: 'unavailable', last_active_ago: expect.any(Number) })
  })

  it('of a user who syncs is online, and offline of one of whom nothing is known', async () => {
    const { alice, bob } = await pair()
    await bob.syncToken()
    expect((await alice.get(path(bob))).body).toMatchObject({ presence: 'online' })
    expect((await bob.get(path(alice))).body).toEqual({ presence: 'offline' })
    expect((await bob.get(path(bob))).body).toMatchObject({ presence: 'online' })
  })

  it('is not shown to who shares no room, and is set by nobody else', async () => {
    const { alice, bob } = await pair()
    const stranger = await homeserver.user()
    expect(await stranger.get(path(alice))).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await put(bob, { presence: 'online' }, alice)).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
  })

  it.each<[string, object]>([
    ['no presence', {}],
    ['one that is none', { presence: 'busy' }],
    ['a message that is none', { presence: 'online', status_msg: 1 }],
    ['a message that is too long', { presence: 'online', status_msg: 'x'.repeat(257) }],
  ])('with %s is refused', async (_what, body) => {
    const user = await homeserver.user()
    expect(await put(user, body)).toMatchObject({ status: 400, body: { errcode: expect.any(String) } })
  })

  it('keeps its message until it is said anew', async () => {
    const { alice, bob } = await pair()
    await put(alice, { presence: 'online', status_msg: 'here' })
    await alice.syncToken()
    expect((await bob.get(path(alice))).body).toMatchObject({ status_msg: 'here' })
    await put(alice, { presence: 'online', status_msg: null })
    expect((await bob.get(path(alice))).body).not.toHaveProperty('status_msg')
  })

  it('is made by sending, for who is there', async () => {
    const { alice, bob, room } = await pair()
    await alice.sync({ set_presence: 'unavailable' })
    expect((await bob.get(path(alice))).body).toMatchObject({ presence: 'unavailable' })
    await alice.say(room, 'hello')
    await eventually('she is online', async () => (await bob.get(path(alice))).body.presence === 'online')
    await bob.say(room, 'from nowhere')
    expect((await alice.get(path(bob))).body).toEqual({ presence: 'offline' })
  })
})

describe('PRESENCE=off', () => {
  it('shows nobody anything, and refuses nothing', async () => {
    const { alice, bob } = await pair(off)
    expect(await put(alice, { presence: 'online', status_msg: 'hello?' })).toMatchObject({ status: 200 })
    await alice.syncToken()
    expect((await bob.get(path(alice))).body).toEqual({ presence: 'offline' })
    expect(await bob.sync()).not.toHaveProperty('presence')
    expect(off.services.presences).toBeUndefined()
  })
})
