import { beforeEach, describe, expect, it } from '@jest/globals'
import { FederationPeers } from '../../src/federation/federation-peers.js'
import { Unreachable } from '../../src/federation/remote.js'
import { remoteError, ScriptedRemote } from '../support/scripted-remote.js'

const roomId = '!room/x:a.example'
const eventId = `$${'e'.repeat(42)}/`
const other = `$${'f'.repeat(43)}`
const encoded = { roomId: encodeURIComponent(roomId), eventId: encodeURIComponent(eventId) }
const { signal } = new AbortController()

/** What JSON.parse would lose stays. */
const first = '{ "depth": 1.0, "a": 1, "a": 2 }'
const second = '{"b":"\\u00e9"}'

let remote: ScriptedRemote
let peers: FederationPeers

beforeEach(() => {
  remote = new ScriptedRemote()
  peers = new FederationPeers(remote, { keys: async () => new Map() })
})

const answering = (text: string) => (remote.script = () => text)
const failing = (status: number, errcode: string) =>
  (remote.script = () => Promise.reject(remoteError('b.example', status, errcode)))

const gap = { earliest: [eventId], latest: [other], limit: 20, minDepth: 3 }

/** Every question whose answer holds PDUs, with the members they stand in. */
const questions: [string, string[], () => Promise<unknown>][] = [
  ['event', ['pdus'], () => peers.event('b.example', eventId, signal)],
  ['missingEvents', ['events'], () => peers.missingEvents('b.example', roomId, gap, signal)],
  ['state', ['pdus', 'auth_chain'], () => peers.state('b.example', roomId, eventId, signal)],
  ['eventAuth', ['auth_chain'], () => peers.eventAuth('b.example', roomId, eventId, signal)],
  ['backfill', ['pdus'], () => peers.backfill('b.example', roomId, [eventId, other], 5, signal)],
]

describe('what is asked', () => {
  it.each([
    ['event', `GET /_matrix/federation/v1/event/${encoded.eventId}`],
    ['missingEvents', `POST /_matrix/federation/v1/get_missing_events/${encoded.roomId}`],
    ['state', `GET /_matrix/federation/v1/state/${encoded.roomId}?event_id=${encoded.eventId}`],
    ['eventAuth', `GET /_matrix/federation/v1/event_auth/${encoded.roomId}/${encoded.eventId}`],
    [
      'backfill',
      `GET /_matrix/federation/v1/backfill/${encoded.roomId}?v=${encoded.eventId}&v=${encodeURIComponent(other)}&limit=5`,
    ],
  ])('%s', async (name, line) => {
    const [, members, ask] = questions.find(([question]) => question === name)!
    answering(JSON.stringify(Object.fromEntries(members.map((member) => [member, []]))))
    await ask()
    expect(remote.asked.map(({ method, path }) => `${method} ${path}`)).toEqual([line])
  })

  it('missingEvents says where the gap is', async () => {
    answering('{"events":[]}')
    await peers.missingEvents('b.example', roomId, gap, signal)
    expect(remote.asked[0]!.content).toEqual({
      earliest_events: [eventId],
      latest_events: [other],
      limit: 20,
      min_depth: 3,
    })
  })
})

describe('PDUs', () => {
  it('come as they stand in the answer', async () => {
    answering(`{"origin":"b.example","pdus":[ ${first} ,${second}], "auth_chain":[${second}]}`)
    expect(await peers.event('b.example', eventId, signal)).toBe(first)
    expect(await peers.backfill('b.example', roomId, [eventId], 5, signal)).toEqual([first, second])
    expect(await peers.eventAuth('b.example', roomId, eventId, signal)).toEqual([second])
    expect(await peers.state('b.example', roomId, eventId, signal)).toEqual({
      state: [first, second],
      authChain: [second],
    })
    answering(`{"events":[${second}]}`)
    expect(await peers.missingEvents('b.example', roomId, gap, signal)).toEqual([second])
  })

  it.each(questions)('%s refuses an answer that has not the shape asked for', async (_name, members, ask) => {
    const whole = members.map((member) => `"${member}":[{}]`).join(',')
    const broken = [
      '',
      '[]',
      '[200,{}]',
      'null',
      '<html>',
      '{}',
      `{${whole}`,
      `{${whole}} x`,
      `{${whole},${whole}}`,
      `{${members.map((member) => `"${member}":{}`).join(',')}}`,
      `{${members.map((member) => `"${member}":null`).join(',')}}`,
      `{${members.map((member) => `"${member}":[{]}`).join(',')}}`,
      `{${members.map((member) => `"${member}":${'['.repeat(50_000)}`).join(',')}}`,
      `{${members.map((member) => `"${member}":["${'x'.repeat(2_000_000)}"]`).join(',')}}`,
    ]
    for (const text of broken) {
      answering(text)
      await expect(ask()).rejects.toBeInstanceOf(Unreachable)
    }
  })

  it('that the server does not have are undefined', async () => {
    failing(404, 'M_NOT_FOUND')
    expect(await peers.event('b.example', eventId, signal)).toBeUndefined()
    answering('{"pdus":[]}')
    expect(await peers.event('b.example', eventId, signal)).toBeUndefined()
  })

  it('that it may or can not give are an error', async () => {
    for (const status of [403, 500]) {
      failing(status, 'M_FORBIDDEN')
      await expect(peers.event('b.example', eventId, signal)).rejects.toMatchObject({ status })
    }
  })
})

describe('the ids of a state', () => {
  it('are asked for and given', async () => {
    answering(JSON.stringify({ pdu_ids: [eventId], auth_chain_ids: [other] }))
    expect(await peers.stateIds('b.example', roomId, eventId, signal)).toEqual({
      stateIds: [eventId],
      authChainIds: [other],
    })
    expect(remote.asked[0]!.path).toBe(`/_matrix/federation/v1/state_ids/${encoded.roomId}?event_id=${encoded.eventId}`)
  })

  it.each([
    '{}',
    '[]',
    '{"pdu_ids":[]}',
    '{"pdu_ids":{},"auth_chain_ids":[]}',
    '{"pdu_ids":[1],"auth_chain_ids":[]}',
    '{"pdu_ids":["no event id"],"auth_chain_ids":[]}',
    '{"pdu_ids":[],"auth_chain_ids":[null]}',
    '{"pdu_ids":[],"pdu_ids":[],"auth_chain_ids":[]}',
    '{"pdu_ids":[',
  ])('are refused as %s', async (text) => {
    answering(text)
    await expect(peers.stateIds('b.example', roomId, eventId, signal)).rejects.toBeInstanceOf(Unreachable)
  })
})

describe('a policy server', () => {
  const ask = () => peers.policySignature('p.example', { type: 'm.room.message', depth: 1 }, signal)

  it('signs', async () => {
    answering('{"p.example":{"ed25519:policy_server":"c2ln"}}')
    expect(await ask()).toBe('c2ln')
    expect(remote.asked[0]).toMatchObject({
      server: 'p.example',
      method: 'POST',
      path: '/_matrix/policy/v1/sign',
      content: { type: 'm.room.message', depth: 1 },
    })
  })

  it.each([
    '{}',
    '{"q.example":{"ed25519:policy_server":"c2ln"}}',
    '{"p.example":{"ed25519:1":"c2ln"}}',
    '{"p.example":[]}',
  ])('does not recommend the event when it answers %s', async (text) => {
    answering(text)
    expect(await ask()).toBeUndefined()
  })

  it.each([
    [400, 'M_FORBIDDEN'],
    [403, 'M_FORBIDDEN'],
    [404, 'M_UNRECOGNIZED'],
  ])('does not recommend the event when it refuses with %s %s', async (status, errcode) => {
    failing(status, errcode)
    expect(await ask()).toBeUndefined()
  })

  it.each([429, 500, 502])('was not heard when it fails with %s', async (status) => {
    failing(status, 'M_UNKNOWN')
    await expect(ask()).rejects.toMatchObject({ status })
  })
})
