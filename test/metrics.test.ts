import { afterAll, expect, it } from '@jest/globals'
import { listen } from '../src/http/server.js'
import { silentLogger } from '../src/logger.js'
import { metricsApp, metricsText } from '../src/metrics.js'
import type { DestinationStatus } from '../src/store/destinations.js'
import { putEdus } from '../src/store/federation-outbox.js'
import { makeDatabase } from './support/make-database.js'
import { testDatabase } from './support/postgres.js'

const { db } = await testDatabase()
const server = await listen(metricsApp(db, silentLogger), { host: '127.0.0.1', port: 0, logger: silentLogger })
afterAll(() => server.close(0))

const status = (destination: string, oldest_ts: number | null, failures: number): DestinationStatus => ({
  destination,
  rooms: 1,
  edus: 0,
  oldest_ts,
  failures,
  retry_ts: 0,
  last_error: null,
  last_success_ts: null,
  given_up: 0,
  in_flight: null,
})

it('how far behind each destination is can be read as figures for Prometheus', async () => {
  await putEdus(db, [{ destination: 'two.example', edu: '{}' }], Date.now() - 90_000)
  const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`)
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const lines = (await answer.text()).split('\n')
  expect(lines).toContain('# TYPE hearth_federation_lag_seconds gauge')
  expect(lines).toContain('hearth_federation_destinations_behind 1')
  expect(lines).toContain('hearth_federation_failures{destination="two.example"} 0')
  const [, lag] = /^hearth_federation_lag_seconds\{destination="two\.example"\} (.+)$/m.exec(lines.join('\n'))!
  expect(Number(lag)).toBeGreaterThanOrEqual(90)
  expect(Number(lag)).toBeLessThan(120)
  expect((await fetch(`http://127.0.0.1:${server.port}/`)).status).toBe(404)
})

it('a destination that fails and for which nothing waits is not behind', () => {
  const text = metricsText([status('one.example', 1_000, 2), status('two.example', null, 3)], 2_500)
  expect(text.split('\n').filter((line) => !line.startsWith('#'))).toEqual([
    'hearth_federation_destinations_behind 1',
    'hearth_federation_lag_seconds{destination="one.example"} 1.5',
    'hearth_federation_lag_seconds{destination="two.example"} 0',
    'hearth_federation_failures{destination="one.example"} 2',
    'hearth_federation_failures{destination="two.example"} 3',
    '',
  ])
})

it('metrics are not there while the database is not, and nothing ends by it', async () => {
  const gone = await makeDatabase()
  const app = await listen(metricsApp(gone.db, silentLogger), { host: '127.0.0.1', port: 0, logger: silentLogger })
  await gone.drop()
  const answer = await fetch(`http://127.0.0.1:${app.port}/metrics`)
  expect([answer.status, await answer.text()]).toEqual([503, 'The database does not answer\n'])
  await app.close(0)
})
