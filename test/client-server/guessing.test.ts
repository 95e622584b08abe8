import { describe, expect, it } from '@jest/globals'
import { accountServer } from '../support/account-server.js'
import { testDatabase } from '../support/postgres.js'

const { client, user } = await accountServer(await testDatabase(), { rateLimits: true })

const guess = (name: string, password: string, ip: string) =>
  client.post(
    '/_matrix/client/v3/login',
    { type: 'm.login.password', identifier: { type: 'm.id.user', user: name }, password },
    { headers: { 'X-Forwarded-For': ip } },
  )

describe('guessing a password', () => {
  it.each(['alice', 'nobody'])('of %s is slowed per account, from wherever it comes', async (name) => {
    if (name === 'alice') await user(name)
    for (let attempt = 0; attempt < 10; attempt++) {
      expect((await guess(name, 'wrong', `192.0.2.${attempt}`)).status).toBe(403)
    }
    const slowed = await guess(name, `their ${name}`, '198.51.100.1')
    expect(slowed).toMatchObject({ status: 429, body: { errcode: 'M_LIMIT_EXCEEDED' } })
    expect(slowed.body.retry_after_ms).toBeGreaterThan(0)
    expect(slowed.body.retry_after_ms).toBeLessThanOrEqual(10_000)
    expect(Number(slowed.headers.get('retry-after'))).toBeLessThanOrEqual(10)
  })

  it('is slowed per address, whatever the accounts', async () => {
    for (let attempt = 0; attempt < 30; attempt++) {
      expect((await guess(`nobody-${attempt}`, 'wrong', '203.0.113.1')).status).toBe(403)
    }
    expect((await guess('nobody-else', 'wrong', '203.0.113.1')).status).toBe(429)
    expect((await guess('nobody-else', 'wrong', '203.0.113.2')).status).toBe(403)
  })

  it('does not count who knows it', async () => {
    await user('carol')
    for (let attempt = 0; attempt < 15; attempt++) {
      expect((await guess('carol', 'their carol', '203.0.113.9')).status).toBe(200)
    }
  })
})
