/** Transactions of other servers: PUT /send/{txnId}. */
import { afterAll, beforeEach, describe, expect, it } from '@jest/globals'
import { silentLogger } from '../../src/logger.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { ReceivedTransactions, type Edus } from '../../src/room/inbound/received-transactions.js'
import type { PduText } from '../../src/room/inbound/peers.js'
import { sendTransaction } from '../../src/server-server/transactions/send-transaction.js'
import { cleanUp, cleanUpConfig } from '../../src/workers/clean-up.js'
import { path } from '../support/handshake.js'
import { serverAppOf } from '../support/server-app.js'
import { held, holdRoom, mia, TestClock, testInbound } from '../support/inbound.js'
import { alice, bob, type Branch, type LabEvent, labRoom } from '../support/laboratory/index.js'
import { network, ScriptedServer } from '../support/laboratory/scripted-server.js'
import { testDatabase } from '../support/postgres.js'
import { testRooms } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { db } = database
const peer = new ScriptedServer('one.example', labRoom().judged)
const inbound = testInbound(database, engine, network(peer))
afterAll(async () => {
  await inbound.close()
  await engine.close()
})

/** Counts what comes through to the rooms. */
class Counted {
  transactions = 0
  before: Promise<unknown> | undefined
  patience: AbortSignal | undefined
  async transaction(origin: string, texts: readonly PduText[], patience?: AbortSignal) {
    this.transactions++
    this.patience = patience
    await this.before
    return inbound.transaction(origin, texts, patience)
  }
}

class TakenEdus implements Edus {
  readonly taken: { origin: string; edus: readonly JsonObject[] }[] = []
  patience: AbortSignal | undefined
  failure: Error | undefined
  async take(origin: string, edus: readonly JsonObject[], patience: AbortSignal): Promise<void> {
    this.patience = patience
    if (this.failure !== undefined) throw this.failure
    this.taken.push({ origin, edus })
  }
}

/** A process. */
async function startProcess() {
  const [counted, edus, clock] = [new Counted(), new TakenEdus(), new TestClock()]
  const transactions = new ReceivedTransactions({ db, inbound: counted, edus, logger: silentLogger, now: clock.now })
  const from = await serverAppOf([sendTransaction], { transactions })
  const put = (id: string, body: unknown, origin = 'one.example') => from(origin).put(path('v1', 'send', id), body)
  return { counted, edus, clock, put }
}

const [here, elsewhere] = [await startProcess(), await startProcess()]
const { put, counted, edus, clock } = here
beforeEach(() => {
  edus.taken.length = 0
  counted.before = undefined
  for (const one of [here, elsewhere]) one.counted.transactions = 0
})

let transactions = 0
const newId = () => `transaction${++transactions}`
const text = (pdus: readonly string[], edus: readonly string[] = []) =>
  `{"origin":"evil.example","origin_server_ts":1,"pdus":[${pdus.join(',')}],"edus":[${edus.join(',')}]}`
const texts = (events: readonly LabEvent[]) => events.map((event) => event.text)

async function room(): Promise<{ lab: Branch; fates: () => Promise<ReadonlyMap<string, string | undefined>> }> {
  const lab = labRoom({ members: [mia, bob] })
  const name = await holdRoom(engine, lab)
  return { lab, fates: async () => (await inbound.settled(), (await held(database, name)).fates) }
}

describe('a transaction', () => {
  it('brings its events into their rooms, and is answered for each', async () => {
    const [one, other] = [await room(), await room()]
    const said = [one.lab.say(alice, 'one'), other.lab.say(bob, 'other')]
    const { status, body } = await put(newId(), text(texts(said)))
    expect({ status, body }).toEqual({
      status: 200,
      body: { pdus: { [said[0]!.eventId]: {}, [said[1]!.eventId]: {} } },
    })
    expect((await one.fates()).get(said[0]!.eventId)).toBe('accepted')
    expect((await other.fates()).get(said[1]!.eventId)).toBe('accepted')
  })

  it('is taken whatever is wrong with some of what is in it', async () => {
    const { lab, fates } = await room()
    const said = [lab.say(alice, 'one'), lab.say(alice, 'two')]
    const deep = `{"content":${'['.repeat(900)}${']'.repeat(900)}}`
    const bad = ['null', '7', '"text"', '[]', '{}', '{"a":1,"a":2}', '{"content":"\\ud800"}', deep, '{"n":1e400}']
    const edu = { edu_type: 'm.typing', content: { typing: true } }
    const badEdus = ['null', '[]', '{"edu_type":"m.typing","edu_type":"m.presence"}', deep]
    const { status, body } = await put(
      newId(),
      text([said[0]!.text, ...bad, said[1]!.text], [...badEdus, JSON.stringify(edu), ...badEdus]),
    )
    expect(status).toBe(200)
    for (const { eventId } of said) expect(body.pdus[eventId]).toEqual({})
    for (const { eventId } of said) expect((await fates()).get(eventId)).toBe('accepted')
    expect(edus.taken).toEqual([{ origin: 'one.example', edus: [edu] }])
  })

  it('has one patience for rooms that are being entered, with its PDUs and its EDUs', async () => {
    await put(newId(), text([], ['{"edu_type":"m.typing","content":{}}']))
    expect(counted.patience).toBeInstanceOf(AbortSignal)
    expect(edus.patience).toBe(counted.patience)
  })

  it('needs neither PDUs nor EDUs', async () => {
    for (const body of ['{}', '{"pdus":[]}', '{"edus":[]}', text([])]) {
      expect(await put(newId(), body)).toMatchObject({ status: 200, body: { pdus: {} } })
    }
    expect(edus.taken).toEqual([])
  })

  it.each([
    ['of more than 50 PDUs', text(Array.from({ length: 51 }, () => '{}')), 'M_BAD_JSON'],
    [
      'of more than 100 EDUs',
      text(
        [],
        Array.from({ length: 101 }, () => '{}'),
      ),
      'M_BAD_JSON',
    ],
    ['that says twice what it has', '{"pdus":[],"pdus":[]}', 'M_BAD_JSON'],
    ['whose PDUs are no list', '{"pdus":{}}', 'M_BAD_JSON'],
    ['whose EDUs are no list', '{"edus":null}', 'M_BAD_JSON'],
    ['that is a list', '[]', 'M_BAD_JSON'],
    ['that is not JSON', '{"pdus":[', 'M_NOT_JSON'],
    ['that is empty', '', 'M_NOT_JSON'],
  ])('%s is refused', async (_sentence, body, errcode) => {
    const id = newId()
    expect(await put(id, body)).toMatchObject({ status: 400, body: { errcode } })
    expect(counted.transactions).toBe(0)
    // And was none: the id is free.
    expect((await put(id, text([]))).status).toBe(200)
  })

  it('may be as large as fifty of the largest events, and not much larger', async () => {
    const largest = `{"content":"${'\\u0041'.repeat(10_900)}"}`
    expect((await put(newId(), text(Array.from({ length: 50 }, () => largest)))).status).toBe(200)
    expect(await put(newId(), `${text([])}${' '.repeat(17 * 1024 * 1024)}`)).toMatchObject({
      status: 413,
      body: { errcode: 'M_TOO_LARGE' },
    })
  })
})

describe('a transaction that comes again', () => {
  it('has the answer it had, and is not taken again', async () => {
    const { lab } = await room()
    const [first, second] = [lab.say(alice, 'first'), lab.say(alice, 'second')]
    const id = newId()
    const answer = await put(id, text([first.text], ['{"edu_type":"a"}']))
    expect((await put(id, text([second.text], ['{"edu_type":"b"}']))).body).toEqual(answer.body)
    expect(counted.transactions).toBe(1)
    expect(edus.taken).toHaveLength(1)
    // Another server's, and another one.
    expect((await put(id, text([second.text]), 'two.example')).body.pdus).toHaveProperty([second.eventId])
    expect((await put(newId(), text([second.text]))).body.pdus).toHaveProperty([second.eventId])
    expect(counted.transactions).toBe(3)
  })

  it('while the first is under way waits for its answer', async () => {
    const { lab } = await room()
    const said = lab.say(alice, 'said')
    let release!: () => void
    counted.before = new Promise<void>((resolve) => (release = resolve))
    const id = newId()
    const body = text([said.text], ['{"edu_type":"a"}'])
    const answers = [put(id, body), put(id, body), put(id, body)]
    while (counted.transactions === 0) await new Promise(setImmediate)
    release()
    for (const answer of await Promise.all(answers)) expect(answer.body).toEqual({ pdus: { [said.eventId]: {} } })
    expect(counted.transactions).toBe(1)
    expect(edus.taken).toHaveLength(1)
  })

  it('is known by other processes, and for a day', async () => {
    const id = `${newId()}${'long'.repeat(1_000)}`
    await put(id, text([]))
    await elsewhere.put(id, text([]))
    expect(elsewhere.counted.transactions).toBe(0)
    const cleaned = (ms: number) => cleanUp({ db, logger: silentLogger, now: () => clock.now() + ms }, cleanUpConfig)
    await cleaned(23 * 3_600_000)
    await elsewhere.put(id, text([]))
    expect(elsewhere.counted.transactions).toBe(0)
    await cleaned(25 * 3_600_000)
    await elsewhere.put(id, text([]))
    expect(elsewhere.counted.transactions).toBe(1)
  })

  it('is taken again when the database was away before it was answered, and not for a fault of ours', async () => {
    const [away, faulty] = [newId(), newId()]
    edus.failure = Object.assign(new Error('the database is shutting down'), { code: '57P01' })
    expect((await put(away, text([], ['{}']))).status).toBe(503)
    edus.failure = new Error('a fault of ours')
    expect((await put(faulty, text([], ['{}']))).status).toBe(200)
    edus.failure = undefined
    expect((await put(away, text([], ['{}']))).status).toBe(200)
    expect((await put(faulty, text([], ['{}']))).status).toBe(200)
    expect({ transactions: counted.transactions, taken: edus.taken.length }).toEqual({ transactions: 3, taken: 1 })
  })
})
