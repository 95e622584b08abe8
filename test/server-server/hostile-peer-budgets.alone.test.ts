/** What a hostile server can cost: each attack has a ceiling in ms and MB, and honest servers are served meanwhile. */
import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { formatAuthorization } from '../../src/protocol/x-matrix.js'
import { eventually } from '../support/eventually.js'
import { heldLongest } from '../support/held-longest.js'
import { HostilePeer, startWithHostilePeer, type Operation } from '../support/hostile-peer.js'
import type { Branch, LabEvent } from '../support/laboratory/index.js'
import { newKey } from '../support/key-servers.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer()
const honest = await HostilePeer.start(authority, hearth)
const mia = await hearth.user('mia')
const v3 = '/_matrix/client/v3'
const MB = 1024 * 1024

let room: Branch
beforeAll(async () => {
  room = await peer.roomWith([mia])
})
afterEach(() => void peer.honestly())

/**
 * Runs it. The event loop must not have been held longer than `held` ms of processor time, and the process must not have
 * grown by more than `mb`; machines differ, so ceilings are several times what is usual.
 */
async function within<T>(
  { ms, held = 1_000, mb = 250 }: { ms: number; held?: number; mb?: number },
  work: () => Promise<T>,
) {
  const [before, began, longest] = [process.memoryUsage(), performance.now(), heldLongest()]
  let most = 0
  const watching = setInterval(() => {
    const { rss, external, heapUsed } = process.memoryUsage()
    most = Math.max(most, Math.min(rss - before.rss, heapUsed + external - before.heapUsed - before.external))
  }, 20)
  try {
    const result = await work()
    expect({ ms: performance.now() - began < ms || performance.now() - began }).toEqual({ ms: true })
    return result
  } finally {
    clearInterval(watching)
    const loop = longest()
    expect({ held: loop < held || loop, mb: most < mb * MB || most / MB }).toEqual({ held: true, mb: true })
  }
}

const clientAnswers = async () => expect((await mia.get(`${v3}/account/whoami`)).status).toBe(200)

describe('what a peer sends', () => {
  const uri = (id: string) => `/_matrix/federation/v1/send/${id}`
  /** Of the peer's key, which this server has, over nothing in particular. */
  const forged = formatAuthorization({
    origin: peer.name,
    destination: hearth.name,
    keyId: peer.key.keyId,
    signature: 'A'.repeat(86),
  })

  /** Of the answer to a transaction, whose body is written as the other side takes it: that costs this process, too. */
  async function statusOf(authorization: string, body: Buffer): Promise<number> {
    const sending = request(hearth.baseUrl + uri('forged'), {
      method: 'PUT',
      headers: { authorization, 'content-length': body.length },
    })
    const answered = once(sending, 'response') as Promise<[IncomingMessage]>
    for (let at = 0; at < body.length && !sending.destroyed; at += 65_536) {
      if (!sending.write(body.subarray(at, at + 65_536))) await Promise.race([once(sending, 'drain'), answered])
    }
    sending.end()
    const [answer] = await answered
    answer.resume()
    return answer.statusCode!
  }

  it('of more PDUs or EDUs than a transaction may have is refused', async () => {
    const pdu = room.tips[0]!.event.pdu as JsonObject
    expect(await peer.send(Array.from({ length: 51 }, () => pdu))).toMatchObject({ status: 400 })
    const edu = { edu_type: 'm.typing', content: {} }
    expect(
      await peer.send(
        [],
        Array.from({ length: 101 }, () => edu),
      ),
    ).toMatchObject({ status: 400 })
  })

  it('in the name of another, sixteen megabytes of it, holds nobody up before it is refused', async () => {
    const bodies = [
      `{"pdus":[${'{"":[]},'.repeat(2 * MB - 2)}{}]}`,
      `{${Array.from({ length: 300_000 }, (_, i) => `"${i}":1`).join(',')}}`,
      `{"pdus":["${'\\u00e9'.repeat(2.5 * MB)}"]}`,
    ].map((text) => Buffer.from(text))
    for (const body of bodies) {
      await within({ ms: 60_000, held: 50, mb: 150 }, async () => expect(await statusOf(forged, body)).toBe(401))
    }
    await within({ ms: 5_000, held: 50, mb: 50 }, async () => {
      for (const authorization of ['X-Matrix', forged.replace(peer.name, 'localhost:1')]) {
        expect(await statusOf(authorization, bodies[0]!)).toBe(401)
      }
    })
  }, 120_000)

  it('of a hundred megabytes is cut off', () =>
    within({ ms: 5_000, mb: 60 }, async () => {
      const { port } = new URL(hearth.baseUrl)
      const socket = connect(Number(port), '127.0.0.1')
      let answer = ''
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
      socket.on('error', () => {})
      socket.write(
        `PUT ${uri('huge')} HTTP/1.1\r\nHost: x\r\nAuthorization: ${forged}\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n`,
      )
      const chunk = Buffer.concat([Buffer.from(`${MB.toString(16)}\r\n`), Buffer.alloc(MB, ' '), Buffer.from('\r\n')])
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      for (let sent = 0; sent < 100 && answer === '' && !socket.destroyed; sent++) {
        if (!socket.write(chunk)) {
          await Promise.race([new Promise<void>((resolve) => socket.once('drain', resolve)), closed])
        }
      }
      await eventually('it is answered', () => answer !== '' || socket.destroyed)
      socket.destroy()
      expect(answer).toContain('413')
    }))

  it('compressed is not read', async () => {
    const response = await fetch(hearth.baseUrl + uri('gzip'), {
      method: 'PUT',
      headers: { 'content-encoding': 'gzip' },
      body: gzipSync(Buffer.alloc(20 * MB, ' ')),
    })
    expect(response.status).toBeLessThan(500)
    expect(response.status).toBeGreaterThanOrEqual(400)
  })

  it('of the deepest and broadest JSON costs little', () =>
    within({ ms: 20_000, mb: 400 }, async () => {
      const texts = [
        `{"pdus":[${'['.repeat(1e6)}`,
        `{"a":${'{"a":'.repeat(1e6)}1${'}'.repeat(1e6)}}`,
        `{"pdus":[],"edus":[${Array.from({ length: 100 }, () => `{"edu_type":"m.receipt","content":{${Array.from({ length: 200 }, (_, i) => `"!${i}:x":{"m.read":{"${peer.eve}":1}}`).join(',')}}}`).join(',')}]}`,
        `{${Array.from({ length: 300_000 }, (_, i) => `"${i}":1`).join(',')}}`,
      ]
      for (const body of texts) {
        const { status } = await peer.ask('PUT', uri('deep'), { body })
        expect(status).toBe(401)
      }
      const content = JSON.parse(texts[2]!) as JsonObject
      expect((await peer.ask('PUT', uri('broad'), { content })).status).toBe(200)
    }))

  it('with keys that nobody has makes us ask its server a few times', async () => {
    const before = peer.timesAsked('keys')
    for (let i = 0; i < 30; i++) {
      expect((await peer.ask('GET', '/_matrix/federation/v1/publicRooms', { key: newKey(`unheard${i}`) })).status).toBe(
        401,
      )
    }
    const pdus = Array.from({ length: 50 }, (_, i) => {
      const { pdu } = room.attempt(peer.eve, { type: 'm.room.message', content: { i } }).event
      const signatures = Object.fromEntries(
        Array.from({ length: 10 }, (_, j) => [`ed25519:unheard${i}_${j}`, 'A'.repeat(86)]),
      )
      return { ...pdu, signatures: { [peer.name]: signatures } } as JsonObject
    })
    await within({ ms: 10_000 }, async () => {
      expect((await peer.send(pdus)).status).toBe(200)
      await peer.settled()
    })
    expect(peer.timesAsked('keys') - before).toBeLessThan(10)
    const said = room.say(peer.eve, 'still there')
    await peer.send([said.text])
    await peer.settled()
  })

  it('as an ACL of thousands of globs is matched in no time', async () => {
    const own = await honest.roomWith([mia], { levels: { users_default: 100 } })
    const globs = Array.from({ length: 3_000 }, (_, i) => `*${'a*'.repeat(6)}${i}`)
    const acl = own.event(honest.eve, {
      type: 'm.room.server_acl',
      stateKey: '',
      content: { allow: ['*'], deny: globs.slice(0, 2_500) },
    })
    await within({ ms: 10_000 }, async () => {
      await honest.send([acl.text])
      await honest.settled()
      for (let i = 0; i < 20; i++) {
        const said = own.say(honest.eve, `allowed ${i}`)
        expect((await honest.send([said.text])).body.pdus[said.eventId]).toEqual({})
      }
      await honest.settled()
    })
  })
})

/** A room whose newest event is not sent: what comes after it makes the Hearth ask. */
const gap = (length = 3): { missing: LabEvent[]; tip: LabEvent } => {
  const missing = Array.from({ length }, (_, i) => room.say(peer.eve, `missing ${i}`))
  return { missing, tip: room.say(peer.eve, 'after the gap') }
}
const isHeld = async (eventId: string) =>
  (await hearth.database.db.selectFrom('event').select('event').where('event_id', '=', eventId).execute()).length > 0

const bomb = (head: string, filling: string, tail: string): Buffer =>
  gzipSync(Buffer.concat([Buffer.from(head), Buffer.alloc(100 * MB, filling), Buffer.from(tail)]))

const compressed = (body: Buffer) => (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(body)

const endless = (head: string, filling: string) => (response: ServerResponse) => {
  const chunk = Buffer.from(filling.repeat(64 * 1024))
  const more = () => {
    while (!response.destroyed && response.write(chunk)) continue
  }
  response.writeHead(200, { 'content-type': 'application/json' }).on('drain', more).write(head)
  more()
}

/** Bodies that never end, or become much more than they are. */
const bodies: readonly (readonly [string, (response: ServerResponse) => unknown])[] = [
  ['a gzip bomb', compressed(bomb('{', '{', ''))],
  ['a gzip bomb that is well formed', compressed(bomb('{"x":"', 'x', '"}'))],
  ['a text without an end', endless('{"x":"', 'xxxx')],
  ['a list without an end', endless('{"chunk":[],"pdus":[1', ',{}')],
]

describe('what a peer answers', () => {
  const asks: readonly (readonly [string, Operation, () => Promise<{ status: number }>])[] = [
    ['for a profile', 'profile', () => mia.get(`${v3}/profile/${encodeURIComponent(peer.eve)}`)],
    ['for an alias', 'directory', () => mia.get(`${v3}/directory/room/${encodeURIComponent(`#a:${peer.name}`)}`)],
    ['for its rooms', 'public_rooms', () => mia.get(`${v3}/publicRooms?server=${peer.name}`)],
    [
      'for a template',
      'make_join',
      () =>
        peer.hearth.services && mia.post(`${v3}/join/${encodeURIComponent(peer.room().roomId)}?via=${peer.name}`, {}),
    ],
  ]

  it.each(
    bodies.flatMap(([sentence, respond]) =>
      asks.map(([what, operation, ask]) => [sentence, what, operation, respond, ask] as const),
    ),
  )('by %s to who asks %s costs little', (_sentence, _what, operation, respond, ask) =>
    within({ ms: 8_000, mb: 200 }, async () => {
      peer.answers(operation, (_honest, _asked, response) => void respond(response))
      const { status } = await ask()
      expect([502, 504]).toContain(status)
      await clientAnswers()
    }),
  )

  it('by a redirect is not followed', async () => {
    const secret = createServer((_request, response) => response.end('{"displayname":"secret"}'))
    await once(secret.listen(0, '127.0.0.1'), 'listening')
    let asked = 0
    secret.on('request', () => asked++)
    const { port } = secret.address() as AddressInfo
    for (const status of [301, 302, 303, 307, 308]) {
      peer.answers('profile', (_honest, _asked, response) => {
        response.writeHead(status, { location: `http://127.0.0.1:${port}/` }).end()
      })
      expect((await mia.get(`${v3}/profile/${encodeURIComponent(peer.user(`of${status}`))}`)).status).toBe(502)
    }
    secret.close()
    expect(asked).toBe(0)
  })

  it('of keys a megabyte long are not read', async () => {
    const liar = await HostilePeer.start(authority, hearth)
    liar.answers('keys', (keys) => ({ ...keys, unsigned: { more: 'x'.repeat(MB) } }))
    await within({ ms: 5_000, mb: 60 }, async () => {
      expect((await liar.ask('GET', '/_matrix/federation/v1/publicRooms')).status).toBe(401)
    })
  })

  it('with events that nobody asked for is taken without them', async () => {
    const elsewhere = await honest.roomWith([mia])
    const { missing, tip } = gap()
    const uncalled = Array.from({ length: 200 }, (_, i) =>
      room.attempt(peer.eve, { type: 'org.example.uncalled', stateKey: `${i}`, content: {} }),
    )
    const foreign = elsewhere.attempt(honest.eve, {
      type: 'm.room.name',
      stateKey: '',
      content: { name: 'not by this way' },
    })
    peer.answers('missing_events', (answer) => {
      const events = [...uncalled, foreign].map(({ text }) => JSON.parse(text) as JsonObject)
      return { ...answer, events: [...(answer['events'] as JsonObject[]), ...events] }
    })
    await within({ ms: 10_000 }, async () => {
      await peer.send([tip.text])
      await peer.settled()
    })
    expect(await isHeld(missing[0]!.eventId)).toBe(true)
    for (const { eventId } of [uncalled[0]!, uncalled.at(-1)!, foreign]) expect(await isHeld(eventId)).toBe(false)
  })

  it('with ever more that is missing ends in a number of questions', async () => {
    const { tip } = gap(2)
    // Each of the events that come stands on one that nobody has.
    const oneMore = () => {
      const lost = room.attempt(peer.eve, { type: 'm.room.message', content: { lost: Math.random() } })
      return room.attempt(peer.eve, { type: 'm.room.message', content: { more: 1 }, prevEvents: [lost] })
    }
    const counted: readonly Operation[] = ['missing_events', 'event', 'state', 'state_ids', 'event_auth']
    const before = counted.map((operation) => peer.timesAsked(operation))
    peer.answers('missing_events', () => ({ events: [JSON.parse(oneMore().text) as JsonObject] }))
    for (const operation of ['event', 'state', 'state_ids', 'event_auth'] as const)
      peer.answers(operation, () => ({ pdus: [], auth_chain: [], pdu_ids: [], auth_chain_ids: [] }))
    await within({ ms: 15_000 }, async () => {
      await peer.send([tip.text])
      await peer.settled()
    })
    const times = counted.reduce((sum, operation, i) => sum + peer.timesAsked(operation) - before[i]!, 0)
    expect(times).toBeLessThan(60)
    await clientAnswers()
  })

  it('never is waited for by nobody else', async () => {
    const held: ServerResponse[] = []
    for (const operation of ['missing_events', 'event', 'state', 'state_ids', 'event_auth'] as const)
      peer.answers(operation, (_honest, _asked, response) => void held.push(response))
    const { tip } = gap(1)
    await peer.send([tip.text])
    const other = await honest.roomWith([mia])
    await within({ ms: 5_000 }, async () => {
      const said = other.say(honest.eve, 'hello')
      await honest.send([said.text])
      while (!(await isHeld(said.eventId))) await new Promise((resolve) => setTimeout(resolve, 20))
      await clientAnswers()
    })
    held.forEach((response) => response.destroy())
  })
})

it('made no fault show', () => expect(faults).toEqual([]))
