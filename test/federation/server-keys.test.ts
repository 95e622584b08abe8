import { beforeEach, describe, expect, it } from '@jest/globals'
import { Unreachable } from '../../src/federation/remote.js'
import { ServerKeys } from '../../src/federation/server-keys.js'
import { silentLogger } from '../../src/logger.js'
import type { SigningKey } from '../../src/protocol/signing.js'
import { keyAnswers } from '../../src/store/server-keys.js'
import { deletions } from '../../src/store/clean-up.js'
import { eventually } from '../support/eventually.js'
import { Clock, keyAnswer, KeyServers, newKey } from '../support/key-servers.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const peer = 'peer.example'
const ours = newKey('ours')
const patient = () => new AbortController().signal

let clock: Clock
let remote: KeyServers
let serverKeys: ServerKeys

/** Another process, or this one after a restart. */
const anotherProcess = () =>
  new ServerKeys({
    db,
    remote,
    now: clock.now,
    logger: silentLogger,
    serverName: 'here.example',
    signingKey: ours,
  })

beforeEach(async () => {
  await db.deleteFrom('server_key_answer').execute()
  await db.deleteFrom('old_verify_key').execute()
  clock = new Clock()
  remote = new KeyServers(clock)
  serverKeys = anotherProcess()
})

const ask = (server: string, keys: readonly (SigningKey | string)[], validAt = clock.now(), by = serverKeys) =>
  by.keys(
    server,
    keys.map((key) => (typeof key === 'string' ? key : key.keyId)),
    validAt,
    patient(),
  )

const kept = async () => (await keyAnswers(db, [peer], clock.now())).get(peer) ?? []

describe('keys of a server', () => {
  it('are asked for once, and known from then on, in other processes too', async () => {
    const [key, other] = [newKey('a'), newKey('b')]
    remote.publish(peer, key, other)
    const expected = new Map([[key.keyId, expect.objectContaining({ validUntil: clock.now() + DAY })]])
    expect(await ask(peer, [key])).toEqual(expected)
    expect(Buffer.from((await ask(peer, [key])).get(key.keyId)!.key)).toEqual(Buffer.from(key.publicKey))
    expect([...(await ask(peer, [key, other], clock.now(), anotherProcess())).keys()]).toEqual([key.keyId, other.keyId])
    expect(remote.asked).toEqual([peer])
  })

  it('are asked for once by many who want them at once', async () => {
    const key = newKey('a')
    remote.publish(peer, key)
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(peer, [key])))
    expect(answers.every((keys) => keys.has(key.keyId))).toBe(true)
    expect(remote.asked).toEqual([peer])
  })

  it('are asked for again when something is signed with a new one', async () => {
    const [former, next] = [newKey('a'), newKey('b')]
    remote.publish(peer, former)
    await ask(peer, [former])
    remote.answer(
      peer,
      JSON.stringify(
        keyAnswer(peer, {
          keys: [next],
          old: [{ key: former, expiredTs: clock.now() - MINUTE }],
          validUntil: clock.now() + DAY,
        }),
      ),
    )
    expect((await ask(peer, [next])).has(next.keyId)).toBe(true)
    expect((await ask(peer, [former])).get(former.keyId)).toMatchObject({ validUntil: clock.now() - MINUTE })
    expect(remote.timesAsked(peer)).toBe(2)
  })

  it('are asked for again when they end before they are needed', async () => {
    const key = newKey('a')
    remote.publish(peer, key)
    await ask(peer, [key])
    clock.pass(DAY + 1)
    expect((await ask(peer, [key])).get(key.keyId)).toMatchObject({ validUntil: clock.now() + DAY })
    expect(remote.timesAsked(peer)).toBe(2)
  })

  it('are renewed at half of their time, and nobody waits for it', async () => {
    const key = newKey('a')
    remote.publish(peer, key)
    await ask(peer, [key])
    clock.pass(13 * HOUR)
    let answer: (text: string) => void = () => undefined
    remote.answer(peer, () => new Promise<string>((resolve) => (answer = resolve)))
    expect((await ask(peer, [key])).has(key.keyId)).toBe(true)
    expect((await ask(peer, [key])).has(key.keyId)).toBe(true)
    await eventually('it is asked again', () => remote.timesAsked(peer) === 2)
    answer(JSON.stringify(keyAnswer(peer, { keys: [key], validUntil: clock.now() + DAY })))
    await eventually('the new answer counts', async () => {
      return (await ask(peer, [key])).get(key.keyId)?.validUntil === clock.now() + DAY
    })
    expect(remote.timesAsked(peer)).toBe(2)
  })

  it('that it no longer lists still verify what they signed', async () => {
    const [former, next] = [newKey('a'), newKey('b')]
    remote.publish(peer, former)
    await ask(peer, [former])
    const until = clock.now() + DAY
    clock.pass(HOUR)
    remote.publish(peer, next)
    await ask(peer, [next])
    const known = await ask(peer, [former, next], clock.now(), anotherProcess())
    expect(known.get(former.keyId)).toMatchObject({ validUntil: until })
    expect(await kept()).toHaveLength(2)
  })

  it('that nobody has are asked for a few times and then once a minute', async () => {
    remote.publish(peer, newKey('a'))
    for (let at = 0; at < 50; at++) expect(await ask(peer, [`ed25519:made_up_${at}`])).toEqual(new Map())
    const atOnce = remote.timesAsked(peer)
    expect(atOnce).toBeLessThanOrEqual(5)
    for (let minute = 0; minute < 10; minute++) {
      clock.pass(MINUTE)
      for (let at = 0; at < 5; at++) await ask(peer, [`ed25519:made_up_${minute}_${at}`])
    }
    expect(remote.timesAsked(peer) - atOnce).toBeLessThanOrEqual(10)
  })

  it('are ours without asking anybody', async () => {
    const former = newKey('former')
    await db
      .insertInto('old_verify_key')
      .values({ key_id: former.keyId, public_key: Buffer.from(former.publicKey), expired_ts: 5 })
      .execute()
    const keys = await ask('here.example', [ours, former, 'ed25519:other'], clock.now() + 1000 * DAY)
    expect(Buffer.from(keys.get(ours.keyId)!.key)).toEqual(Buffer.from(ours.publicKey))
    expect(keys.get(ours.keyId)!.validUntil).toBeGreaterThan(clock.now() + 1000 * DAY)
    expect(keys.get(former.keyId)).toMatchObject({ validUntil: 5 })
    expect(keys.size).toBe(2)
    expect(remote.asked).toEqual([])
  })

  it('of what is no server name are none', async () => {
    expect(await ask('a/b', ['ed25519:a'])).toEqual(new Map())
    expect(remote.asked).toEqual([])
  })
})

describe('a server that does not answer', () => {
  const unreachable = expect.objectContaining({ name: 'Unreachable', message: expect.stringContaining('refused') })

  it('is said to be unreachable, and left alone for a growing time', async () => {
    const key = newKey('a')
    for (let at = 0; at < 5; at++) await expect(ask(peer, [key])).rejects.toEqual(unreachable)
    expect(remote.timesAsked(peer)).toBe(1)
    for (const pause of [10_000, 20_000, 40_000]) {
      clock.pass(pause - 1)
      await expect(ask(peer, [key])).rejects.toBeInstanceOf(Unreachable)
      const before = remote.timesAsked(peer)
      clock.pass(1)
      await expect(ask(peer, [key])).rejects.toBeInstanceOf(Unreachable)
      expect(remote.timesAsked(peer)).toBe(before + 1)
    }
    clock.pass(10 * MINUTE)
    remote.publish(peer, key)
    expect((await ask(peer, [key])).has(key.keyId)).toBe(true)
  })

  it('is spoken for by what is known of it', async () => {
    const key = newKey('a')
    remote.publish(peer, key)
    await ask(peer, [key])
    remote.fall(peer)
    clock.pass(HOUR)
    // Later than the key counts, but it counts now.
    expect((await ask(peer, [key], clock.now() + 30 * DAY)).has(key.keyId)).toBe(true)
    expect((await ask(peer, [key, 'ed25519:b'])).has(key.keyId)).toBe(true)
    await expect(ask(peer, ['ed25519:b'])).rejects.toBeInstanceOf(Unreachable)
    clock.pass(2 * DAY)
    // What it signed while the key counted can be verified without it.
    expect((await ask(peer, [key], clock.now() - 2 * DAY)).has(key.keyId)).toBe(true)
    await expect(ask(peer, [key])).rejects.toBeInstanceOf(Unreachable)
  })

  it.each<[string, string]>([
    ['nonsense', 'x'],
    ['keys of another server', JSON.stringify(keyAnswer('other.example', { keys: [newKey('a')], validUntil: 5 }))],
  ])('with its keys but with %s is as good as one that is away', async (_what, answer) => {
    remote.answer(peer, answer)
    await expect(ask(peer, ['ed25519:a'])).rejects.toBeInstanceOf(Unreachable)
    expect(await kept()).toEqual([])
  })

  it('holds up who has patience, and no other', async () => {
    const [key, impatient] = [newKey('a'), new AbortController()]
    let answer: (text: string) => void = () => undefined
    remote.answer(peer, () => new Promise<string>((resolve) => (answer = resolve)))
    const patientAnswer = ask(peer, [key])
    const impatientAnswer = serverKeys.keys(peer, [key.keyId], clock.now(), impatient.signal)
    await eventually('it is asked', () => remote.timesAsked(peer) === 1)
    impatient.abort(new Error('no more'))
    await expect(impatientAnswer).rejects.toThrow('no more')
    answer(JSON.stringify(keyAnswer(peer, { keys: [key], validUntil: clock.now() + DAY })))
    expect((await patientAnswer).has(key.keyId)).toBe(true)
  })
})

it('asks nobody any more when it is closed', async () => {
  let isAsked = false
  const untilAborted = (_server: string, _request: unknown, signal?: AbortSignal) =>
    new Promise<never>((_, reject) => {
      isAsked = true
      signal?.addEventListener('abort', () => reject(signal.reason as Error))
    })
  const hanging = new ServerKeys({ ...serverKeys.deps, remote: { unsigned: untilAborted } })
  const given = ask(peer, ['ed25519:a'], clock.now(), hanging)
  given.catch(() => undefined)
  await eventually('it is asked', () => isAsked)
  await hanging.close()
  await expect(given).rejects.toThrow(/stopping/)
  await expect(ask('other.example', ['ed25519:a'], clock.now(), hanging)).rejects.toThrow(/stopping/)
})

describe('what is kept', () => {
  it('is bounded for a server that has new keys every time', async () => {
    for (let at = 0; at < 13; at++) {
      remote.publish(peer, newKey(`k${at}`))
      clock.pass(10 * MINUTE)
      await ask(peer, [`ed25519:k${at}`])
    }
    expect(remote.timesAsked(peer)).toBe(13)
    expect(await kept()).toHaveLength(10)
    const { count } = await db
      .selectFrom('server_key')
      .select(db.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
    expect(Number(count)).toBe(10)
  })

  it('goes when nobody needed it for a year, and stays while somebody does', async () => {
    const key = newKey('a')
    remote.publish(peer, key)
    await ask(peer, [key])
    const deletion = deletions.find(({ table }) => table === 'server_key_answer')!
    const cleanUp = (nowTs: number) => db.transaction().execute((trx) => deletion.run(trx, 100, nowTs))

    clock.pass(300 * DAY)
    remote.fall(peer)
    await ask(peer, [key], clock.now() - 300 * DAY)
    expect(await cleanUp(clock.now() + 100 * DAY)).toBe(0)
    expect(await cleanUp(clock.now() + 366 * DAY)).toBe(1)
    expect(await db.selectFrom('server_key').selectAll().execute()).toEqual([])
  })
})
