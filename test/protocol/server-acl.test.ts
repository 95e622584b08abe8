import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { ServerAcl } from '../../src/protocol/server-acl.js'
import { processorTime } from '../support/processor-time.js'

describe('m.room.server_acl', () => {
  it.each<[string, JsonObject, string, boolean]>([
    ['allows whom a pattern allows', { allow: ['*'] }, 'evil.com', true],
    ['denies everybody without an allow list', {}, 'good.com', false],
    ['denies whom a pattern denies, allowed or not', { allow: ['*'], deny: ['evil.com'] }, 'evil.com', false],
    ['does not look at the port', { allow: ['*'], deny: ['evil.com'] }, 'evil.com:8448', false],
    ['does not look at the case of letters', { allow: ['*'], deny: ['Evil.com'] }, 'eVIL.com', false],
    ['knows * and ?', { allow: ['*.good.c?m'] }, 'a.b.good.com', true],
    ['matches the whole name', { allow: ['good.com'] }, 'good.com.evil', false],
    ['allows IP literals unless told otherwise', { allow: ['*'], allow_ip_literals: 'no' }, '1.2.3.4', true],
    ['denies IPv4 literals when told', { allow: ['*'], allow_ip_literals: false }, '1.2.3.4:8448', false],
    ['denies IPv6 literals when told', { allow: ['*'], allow_ip_literals: false }, '[2001:db8::1]:443', false],
    ['takes a name that only looks like numbers', { allow: ['*'], allow_ip_literals: false }, '1.2.3.four', true],
    ['passes over entries that are no strings', { allow: [1, null, 'good.com'], deny: 'good.com' }, 'good.com', true],
  ])('%s', (_sentence, content, server, allowed) => {
    expect(new ServerAcl(content).allows(server)).toBe(allowed)
    expect(new ServerAcl(content).allows(server)).toBe(allowed)
  })

  it('judges thousands of hostile patterns once, and quickly', () => {
    const deny = Array.from({ length: 3_000 }, (_, i) => `*${'a*'.repeat(50)}${i}.evil`)
    const acl = new ServerAcl({ allow: ['*'], deny })
    const began = processorTime()
    for (let i = 0; i < 1_000; i++) expect(acl.allows(`${'a'.repeat(200)}.good`)).toBe(true)
    expect(processorTime() - began).toBeLessThan(1_000)
  })
})
