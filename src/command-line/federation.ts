/** `hearth federation`: how sending to other servers goes, for the operator. */
import { destinationStatuses, endWaiting, forgetWaiting, type DestinationStatus } from '../store/destinations.js'
import type { Database } from '../store/database.js'
import { printable } from './printable.js'
import { withServerDatabase } from './with-server-database.js'

export interface StatusOptions {
  /** Also those that have everything. */
  readonly all?: boolean
  readonly json?: boolean
}

export async function federationStatus(destination: string | undefined, options: StatusOptions): Promise<void> {
  await withServerDatabase('hearth federation status', async ({ db }) => {
    const all = options.all === true || destination !== undefined
    const statuses = await destinationStatuses(db, { all, destination })
    process.stdout.write(options.json === true ? jsonOf(statuses) : tableOf(statuses, Date.now()))
  })
}

const jsonOf = (statuses: readonly DestinationStatus[]): string => `${JSON.stringify(statuses, undefined, 2)}\n`

const HEADINGS = [
  'destination',
  'rooms',
  'edus',
  'behind',
  'failures',
  'next attempt',
  'last success',
  'given up',
  'last error',
]

/** Columns as wide as they must be. */
export function tableOf(statuses: readonly DestinationStatus[], nowTs: number): string {
  if (statuses.length === 0) return 'Nothing waits to be sent, and no server fails.\n'
  const rows = [HEADINGS, ...statuses.map((status) => cellsOf(status, nowTs))]
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

function cellsOf(status: DestinationStatus, nowTs: number): string[] {
  const { destination, rooms, edus, oldest_ts, failures, retry_ts, last_success_ts, given_up, last_error } = status
  return [
    destination,
    String(rooms),
    String(edus),
    oldest_ts === null ? '-' : lasting(nowTs - oldest_ts),
    String(failures),
    retry_ts > nowTs ? `in ${lasting(retry_ts - nowTs)}` : '-',
    last_success_ts === null ? 'never' : `${lasting(nowTs - last_success_ts)} ago`,
    String(given_up),
    printable(last_error ?? '-').slice(0, 120),
  ]
}

/** The largest unit that fits: 7s, 3m, 5h, 12d. */
export function lasting(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  for (const [unit, length] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
  ] as const) {
    if (seconds >= length) return `${Math.floor(seconds / length)}${unit}`
  }
  return `${seconds}s`
}

export interface ResetOptions {
  /** What waits is given up, too. */
  readonly forget?: boolean
}

export async function resetFederation(destination: string, options: ResetOptions): Promise<void> {
  await withServerDatabase('hearth federation reset', async (database) => {
    process.stdout.write(`${await reset(database, destination, options)}\n`)
  })
}

/** Returns what was done, for the operator. A running server finds it within seconds. */
export async function reset(
  { db }: Pick<Database, 'db'>,
  destination: string,
  { forget }: ResetOptions,
): Promise<string> {
  const [status] = await destinationStatuses(db, { all: true, destination })
  if (status === undefined) return `Nothing was ever sent to ${destination}, and nothing waits for it.`
  if (forget === true) await db.transaction().execute((trx) => forgetWaiting(trx, destination))
  await endWaiting(db, destination)
  return forget === true
    ? `What waited for ${destination} is given up: ${status.rooms} rooms and ${status.edus} EDUs.`
    : `${destination} is tried again at once.`
}
