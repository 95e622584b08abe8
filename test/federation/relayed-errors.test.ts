import { expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { relayed } from '../../src/federation/relayed-errors.js'
import { RemoteError, Unreachable } from '../../src/federation/remote.js'

const answered = (status: number, errcode: string, body: JsonObject = {}, retryAfter?: number) =>
  new RemoteError('b.example', status, errcode, 'because', { errcode, ...body }, retryAfter)

it.each<[number, string, number]>([
  [403, 'M_FORBIDDEN', 403],
  [404, 'M_NOT_FOUND', 404],
  [400, 'M_UNABLE_TO_GRANT_JOIN', 400],
  [401, 'M_FORBIDDEN', 403],
])('passes %s %s on as %s', (status, errcode, told) => {
  expect(relayed(answered(status, errcode))).toMatchObject({ status: told, errcode, message: 'because' })
})

it.each([
  [401, 'M_UNKNOWN_TOKEN'],
  [401, 'M_MISSING_TOKEN'],
  [401, 'M_UNAUTHORIZED'],
  [403, 'M_USER_DEACTIVATED'],
  [403, 'M_USER_LOCKED'],
  [403, 'M_UNKNOWN_TOKEN'],
  [400, 'M_MISSING_PARAM'],
  [400, 'M_BAD_JSON'],
  [404, 'M_UNRECOGNIZED'],
  [500, 'M_FORBIDDEN'],
  [503, 'M_UNKNOWN'],
  [302, 'M_UNKNOWN'],
  [418, 'ORG.EXAMPLE.TEAPOT'],
])('keeps %s %s to itself', (status, errcode) => {
  const told = relayed(answered(status, errcode))
  expect(told).toMatchObject({ status: 502, errcode: 'M_UNKNOWN' })
  expect(told.message).not.toContain('because')
})

it('says which version a room has', () => {
  const error = answered(400, 'M_INCOMPATIBLE_ROOM_VERSION', { room_version: '7', soft_logout: true })
  expect(relayed(error)).toMatchObject({ status: 400, extra: { room_version: '7' } })
  expect(relayed(answered(400, 'M_INCOMPATIBLE_ROOM_VERSION', { room_version: 7 })).extra).toEqual({})
})

it('says when to come again, within an hour', () => {
  expect(relayed(answered(429, 'M_LIMIT_EXCEEDED', {}, 2500)).extra).toEqual({ retry_after_ms: 2500 })
  expect(relayed(answered(429, 'M_LIMIT_EXCEEDED', {}, 1e15)).extra).toEqual({ retry_after_ms: 3_600_000 })
  expect(relayed(answered(429, 'M_UNKNOWN_TOKEN'))).toMatchObject({ status: 429, errcode: 'M_LIMIT_EXCEEDED' })
})

it('does not pass on texts without end', () => {
  const long = new RemoteError('b.example', 403, 'M_FORBIDDEN', '😀'.repeat(10_000), {})
  expect(relayed(long).message.length).toBeLessThanOrEqual(500)
})

it('says that a server is not reached, and not why', () => {
  const told = relayed(new Unreachable('b.example', '10.0.0.1 port 8448: ECONNREFUSED'))
  expect(told).toMatchObject({ status: 504, errcode: 'M_UNKNOWN' })
  expect(told.message).not.toContain('10.0.0.1')
})

it('throws on what is another failure', () => {
  const other = new Error('the database is away')
  expect(() => relayed(other)).toThrow(other)
})
