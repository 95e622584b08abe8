import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { encodeBase64 } from '../../src/protocol/base64.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'
import { deviceKeys } from '../support/remote-users.js'
import { serverApp } from '../support/server-app.js'

const homeserver = await startTestHomeserver()
const asking = await serverApp(homeserver)
const elsewhere = asking('elsewhere.test')
const upload = (user: TestUser, body: object) => user.ok('POST', '/_matrix/client/v3/keys/upload', body)
const base = '/_matrix/federation/v1/user'

async function userWithKeys() {
  const user = await homeserver.user()
  const device_keys = deviceKeys(user.userId, user.deviceId)
  await upload(user, { device_keys })
  return { user, device_keys }
}

describe('the devices of a user of ours', () => {
  it('are told with their keys and names, and where the list stands', async () => {
    const { user, device_keys } = await userWithKeys()
    await user.ok('PUT', `/_matrix/client/v3/devices/${user.deviceId}`, { display_name: 'A "phone"' })
    const { status, body } = await elsewhere.get(`${base}/devices/${encodeURIComponent(user.userId)}`)
    expect([status, body]).toEqual([
      200,
      {
        user_id: user.userId,
        stream_id: expect.any(Number),
        devices: [{ device_id: user.deviceId, keys: device_keys, device_display_name: 'A "phone"' }],
      },
    ])
  })

  it('are none of one who is not there', async () => {
    const { body } = await elsewhere.get(`${base}/devices/${encodeURIComponent('@nobody:hearth.test')}`)
    expect(body).toEqual({ user_id: '@nobody:hearth.test', stream_id: 0, devices: [] })
  })

  it.each(['@carol:two.example', '@elsewhere:elsewhere.test', 'nobody', '@nobody:hearth.test.evil'])(
    'are all that is told of: %s is refused',
    async (userId) => {
      const { status, body } = await elsewhere.get(`${base}/devices/${encodeURIComponent(userId)}`)
      expect([status, body.errcode]).toEqual([400, 'M_INVALID_PARAM'])
    },
  )
})

describe('keys of users of ours', () => {
  it('are told to other servers, and no keys of others', async () => {
    const { user, device_keys } = await userWithKeys()
    const asked = { [user.userId]: [], '@nobody:hearth.test': [], '@carol:two.example': [], nonsense: [] }
    const { body } = await elsewhere.post(`${base}/keys/query`, { device_keys: asked })
    expect(body).toEqual({
      device_keys: {
        [user.userId]: { [user.deviceId]: { ...device_keys, unsigned: {} } },
        '@nobody:hearth.test': {},
      },
    })
  })

  it('are claimed once, whichever server asks, and then the fallback key is given', async () => {
    const { user } = await userWithKeys()
    const key = () => ({ key: encodeBase64(randomBytes(32)), signatures: {} })
    const [once, fallback] = [key(), key()]
    await upload(user, {
      one_time_keys: { 'signed_curve25519:A': once },
      fallback_keys: { 'signed_curve25519:F': fallback },
    })
    const asked = {
      [user.userId]: { [user.deviceId]: 'signed_curve25519', NONE: 'x' },
      '@carol:two.example': { A: 'x' },
    }
    const claim = async (origin: string) =>
      (await asking(origin).post(`${base}/keys/claim`, { one_time_keys: asked })).body
    const given = (name: string, value: object) => ({
      one_time_keys: { [user.userId]: { [user.deviceId]: { [name]: value } } },
    })
    expect(await claim('one.test')).toEqual(given('signed_curve25519:A', once))
    expect(await claim('two.test')).toEqual(given('signed_curve25519:F', fallback))
  })

  it.each(['query', 'claim'])('asked for with another body (%s) is refused', async (what) => {
    const { status, body } = await elsewhere.post(`${base}/keys/${what}`, { device_keys: 1, one_time_keys: [1] })
    expect([status, body.errcode]).toEqual([400, 'M_BAD_JSON'])
  })
})
