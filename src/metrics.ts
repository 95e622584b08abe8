/**
 * Figures for Prometheus and its kin, on an address of their own (`METRICS_LISTEN`): nobody is asked who they are, and
 * whom this server talks to is nobody else's business. https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import express, { type ErrorRequestHandler, type Express } from 'express'
import type { Kysely } from 'kysely'
import type { Logger } from './logger.js'
import { destinationStatuses, type DestinationStatus } from './store/destinations.js'
import type { Tables } from './store/tables.js'

/** Destinations that are told one by one: those that are furthest behind. */
const MOST = 1_000

export function metricsApp(db: Kysely<Tables>, log: Logger): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.get('/metrics', (_request, response, next) => {
    destinationStatuses(db).then((statuses) => {
      response.set('Content-Type', 'text/plain; version=0.0.4; charset=utf-8').send(metricsText(statuses, Date.now()))
    }, next)
  })
  const failed: ErrorRequestHandler = (cause, _request, response, _next) => {
    log.warn({ err: cause as unknown }, 'the metrics could not be read')
    response.status(503).type('text/plain').send('The database does not answer\n')
  }
  return app.use(failed)
}

/** Of the destinations for which something waits, or which fail; those furthest behind first. */
export function metricsText(statuses: readonly DestinationStatus[], nowTs: number): string {
  const listed = statuses.slice(0, MOST)
  const behind = statuses.filter(({ oldest_ts }) => oldest_ts !== null)
  return [
    gauge('hearth_federation_destinations_behind', 'Servers for which something waits', [
      { destination: undefined, value: behind.length },
    ]),
    gauge(
      'hearth_federation_lag_seconds',
      'How long the oldest of what waits for a server has waited',
      listed.map(({ destination, oldest_ts }) => {
        const lag = oldest_ts === null ? 0 : Math.max(0, nowTs - oldest_ts) / 1_000
        return { destination, value: lag }
      }),
    ),
    gauge(
      'hearth_federation_failures',
      'How often in a row a server did not take what it was sent',
      listed.map(({ destination, failures }) => ({ destination, value: failures })),
    ),
  ].join('')
}

interface Sample {
  readonly destination: string | undefined
  readonly value: number
}

function gauge(name: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.map(({ destination, value }) => `${name}${labelOf(destination)} ${value}\n`)
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('')}`
}

const labelOf = (destination: string | undefined): string =>
  destination === undefined ? '' : `{destination="${destination.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"}`
