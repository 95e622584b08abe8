/**
 * What this machine allows, measured between the targets' rounds: the rows of events batched into the same Postgres and
 * nothing else, and the bare endpoint driven by the same senders. A server's rate means little without them.
 */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import pg from 'pg'
import { ErrorLog } from '../errors.js'
import type { Subject } from '../rounds.js'
import type { Bench } from '../scenario.js'
import { SendLoad } from '../send-load.js'
import type { SendOptions } from '../scenarios/send.js'
import { percentile, type Figures } from '../stats.js'
import { UsageError, type Target } from '../target.js'
import { floorEvent } from './event.js'
import { createFloorSchema, dropFloorSchema, emptyFloorSchema, insertRows, type Row } from './schema.js'

export const BARE_ENDPOINT = 'floor: bare endpoint'

/** The first database named. @throws UsageError when there is none */
export function floorDatabase(targets: readonly Target[]): string {
  const url = targets.find(({ databaseUrl }) => databaseUrl !== undefined)?.databaseUrl
  if (url === undefined) throw new UsageError('--floor needs the --database-url of a target')
  return url
}

export async function floors(bench: Bench<SendOptions>): Promise<Subject[]> {
  const databaseUrl = floorDatabase(bench.targets)
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await createFloorSchema(client)
  const rows = rowsFloor(bench.options, client)
  try {
    return [rows, await bareEndpointFloor(bench, client, databaseUrl)]
  } catch (cause) {
    await rows.close()
    throw cause
  }
}

/** Batches as large as there are clients, one after the other, of texts made beforehand. Drops the schema at its end. */
function rowsFloor({ clients, seconds, bodyBytes }: Bench<SendOptions>['options'], client: pg.Client): Subject {
  const content = { msgtype: 'm.text', body: 'x'.repeat(bodyBytes) }
  const batch = Array.from({ length: clients }, (_, index) => floorEvent(content, index))
  const close = async () => {
    await dropFloorSchema(client)
    await client.end()
  }
  return {
    name: 'floor: rows',
    errors: new ErrorLog(),
    warmUp: () => insertFor(1, client, batch),
    round: () => insertFor(seconds, client, batch),
    close,
  }
}

async function insertFor(seconds: number, client: pg.Client, batch: readonly Row[]): Promise<Figures> {
  await emptyFloorSchema(client)
  const latencies: number[] = []
  const began = performance.now()
  let now = began
  for (let last = 0; now < began + seconds * 1000; last += batch.length) {
    await insertRows(client, last, batch)
    latencies.push(performance.now() - now)
    now = performance.now()
  }
  const rate = (latencies.length * batch.length) / ((now - began) / 1000)
  return { rate, p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) }
}

async function bareEndpointFloor(bench: Bench<SendOptions>, client: pg.Client, databaseUrl: string): Promise<Subject> {
  const { clients, seconds, bodyBytes } = bench.options
  const { child, port } = await startBareEndpoint(databaseUrl)
  const endpoint = { address: '127.0.0.1', port, host: `127.0.0.1:${port}`, basePath: '' }
  const sender = { account: { userId: '@bench:localhost', token: 'x'.repeat(40) }, roomId: `!${'r'.repeat(43)}` }
  const errors = new ErrorLog()
  const senders = Array.from({ length: clients }, () => sender)
  const load = new SendLoad({ endpoint, pid: child.pid }, senders, bodyBytes, errors, bench.signal)
  const roundOnEmptyTables = async (time: number) => {
    await emptyFloorSchema(client)
    return load.round(time)
  }
  return {
    name: BARE_ENDPOINT,
    errors,
    warmUp: () => roundOnEmptyTables(1),
    round: () => roundOnEmptyTables(seconds),
    close: () => stop(load, child),
  }
}

async function startBareEndpoint(databaseUrl: string): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(new URL('./bare-endpoint.js', import.meta.url))
  child.send({ databaseUrl })
  const ended = once(child, 'exit').then(() => {
    throw new Error('the bare endpoint ended before it was ready')
  })
  const [message] = (await Promise.race([once(child, 'message'), ended])) as [{ port: number }]
  ended.catch(() => {}) // its end is expected from now on, and is seen by `stop`
  return { child, port: message.port }
}

async function stop(load: SendLoad, child: ChildProcess): Promise<void> {
  load.close()
  if (child.exitCode !== null || !child.connected) return
  const exit = once(child, 'exit')
  child.disconnect()
  await exit
}
