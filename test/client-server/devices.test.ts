import { describe, expect, it } from '@jest/globals'
import { accountServer } from '../support/account-server.js'
import { TestClient } from '../support/http.js'
import { testDatabase } from '../support/postgres.js'

const { client, user, devicesChanged } = await accountServer(await testDatabase())

const byPassword = (name: string, password = `their ${name}`) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: name },
  password,
})

async function login(name: string, deviceId: string, password = `their ${name}`) {
  const body = { ...byPassword(name, password), device_id: deviceId, initial_device_display_name: `${name}'s` }
  return new TestClient(client.baseUrl, (await client.post('/_matrix/client/v3/login', body)).body.access_token)
}

const device = (id: string) => `/_matrix/client/v3/devices/${encodeURIComponent(id)}`

describe('devices', () => {
  it('are listed with their names and when they were seen', async () => {
    const alice = await user('alice')
    await login('alice', 'A/B C')
    const { body } = await alice.client.get('/_matrix/client/v3/devices')
    expect(body.devices).toEqual([
      expect.objectContaining({ device_id: alice.deviceId, last_seen_ip: '127.0.0.1' }),
      { device_id: 'A/B C', display_name: "alice's", last_seen_ip: '127.0.0.1', last_seen_ts: expect.any(Number) },
    ])
    expect((await alice.client.get(device('A/B C'))).body.display_name).toBe("alice's")
    expect(await alice.client.get(device('OTHER'))).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('can be renamed, and those who share rooms are told', async () => {
    const bob = await user('bob')
    expect((await bob.client.put(device(bob.deviceId), { display_name: 'Phone ☎' })).status).toBe(200)
    expect((await bob.client.get(device(bob.deviceId))).body.display_name).toBe('Phone ☎')
    expect(devicesChanged).toContain('@bob:example.org')
    expect((await bob.client.put(device(bob.deviceId), {})).status).toBe(200)
    for (const body of [{}, { display_name: 'x' }]) {
      expect(await bob.client.put(device('OTHER'), body)).toMatchObject({
        status: 404,
        body: { errcode: 'M_NOT_FOUND' },
      })
    }
    expect((await bob.client.put(device(bob.deviceId), { display_name: 1 })).body.errcode).toBe('M_BAD_JSON')
    expect((await bob.client.put(device('a\0'), { display_name: 'x' })).body.errcode).toBe('M_INVALID_PARAM')
  })

  it('are deleted for who shows their password again', async () => {
    const carol = await user('carol')
    const laptop = await login('carol', 'LAPTOP')
    const asked = await carol.client.delete(device('LAPTOP'))
    expect(asked).toMatchObject({ status: 401, body: { flows: [{ stages: ['m.login.password'] }] } })
    const { session } = asked.body

    const wrong = await carol.client.delete(device('LAPTOP'), { auth: { ...byPassword('carol', 'wrong'), session } })
    expect(wrong).toMatchObject({ status: 401, body: { errcode: 'M_FORBIDDEN', session, completed: [] } })
    expect((await laptop.get('/_matrix/client/v3/account/whoami')).status).toBe(200)

    const auth = { ...byPassword('carol'), session }
    expect(await carol.client.delete(device('LAPTOP'), { auth })).toMatchObject({ status: 200, body: {} })
    expect((await laptop.get('/_matrix/client/v3/account/whoami')).body.errcode).toBe('M_UNKNOWN_TOKEN')
    expect((await carol.client.get('/_matrix/client/v3/account/whoami')).status).toBe(200)
  })

  it('are not deleted by the password of somebody else, by a session for another device, or without a password', async () => {
    const dave = await user('dave')
    await user('erin')
    await login('dave', 'ONE')
    const { session } = (await dave.client.delete(device('ONE'))).body
    const attempts = [
      await dave.client.delete(device('ONE'), { auth: { ...byPassword('erin'), session } }),
      await dave.client.delete(device(dave.deviceId), { auth: { ...byPassword('dave'), session } }),
      await dave.client.delete(device('ONE'), { auth: { session } }),
    ]
    expect(attempts.map(({ status, body }) => [status, body.errcode])).toEqual([
      [401, 'M_FORBIDDEN'],
      [403, 'M_FORBIDDEN'],
      [401, undefined],
    ])
    const wrong = await dave.client.delete(device('ONE'), { auth: { type: 'm.login.password', session } })
    expect(wrong).toMatchObject({ status: 400, body: { errcode: 'M_MISSING_PARAM' } })
    expect((await dave.client.get('/_matrix/client/v3/devices')).body.devices).toHaveLength(2)
  })

  it('are deleted several at a time, those of others and unknown ones excepted', async () => {
    const frank = await user('frank')
    const grace = await user('grace')
    await login('frank', 'ONE')
    await login('frank', 'TWO')
    const body = { devices: ['ONE', 'TWO', 'NONE', grace.deviceId], auth: byPassword('frank') }
    expect((await frank.client.post('/_matrix/client/v3/delete_devices', body)).status).toBe(200)
    const left = (await frank.client.get('/_matrix/client/v3/devices')).body.devices
    expect(left.map((one: { device_id: string }) => one.device_id)).toEqual([frank.deviceId])
    expect((await grace.client.get('/_matrix/client/v3/account/whoami')).status).toBe(200)

    for (const devices of [undefined, 'ONE', [1]]) {
      expect((await frank.client.post('/_matrix/client/v3/delete_devices', { devices })).body.errcode).toBe(
        'M_BAD_JSON',
      )
    }
  })
})

describe('a change of password', () => {
  const path = '/_matrix/client/v3/account/password'
  const changed = (name: string, more: object = {}) => ({
    new_password: 'another one',
    auth: byPassword(name),
    ...more,
  })

  it('needs the old one, and logs other devices out', async () => {
    const heidi = await user('heidi')
    const other = await login('heidi', 'OTHER')
    expect((await heidi.client.post(path, changed('heidi', { auth: undefined }))).status).toBe(401)
    expect((await heidi.client.post(path, changed('heidi', { auth: byPassword('heidi', 'x') }))).status).toBe(401)
    expect((await heidi.client.post(path, changed('heidi', { new_password: 1 }))).body.errcode).toBe('M_BAD_JSON')

    expect((await heidi.client.post(path, changed('heidi'))).status).toBe(200)
    expect((await heidi.client.get('/_matrix/client/v3/account/whoami')).status).toBe(200)
    expect((await other.get('/_matrix/client/v3/account/whoami')).status).toBe(401)
    expect((await login('heidi', 'NEW')).accessToken).toBeUndefined()
    expect((await login('heidi', 'NEW', 'another one')).accessToken).toBeDefined()
  })

  it('leaves devices logged in where that is asked for', async () => {
    const ivan = await user('ivan')
    const other = await login('ivan', 'OTHER')
    expect((await ivan.client.post(path, changed('ivan', { logout_devices: false }))).status).toBe(200)
    expect((await other.get('/_matrix/client/v3/account/whoami')).status).toBe(200)
  })
})
