/**
 * `npm run interop`: a Hearth and a real Synapse share rooms, both ways round, and are compared event by event.
 *
 *     SYNAPSE_PYTHON=venv/bin/python npm run interop
 *     npm run interop -- --only knock --logs data/interop
 *     npm run interop -- --only 'version 11: chance' --seed 7 --seeds 20 --logs data/interop
 *     npm run interop -- --resolutions 100
 *     npm run interop -- --judge data/interop/differs-1.json
 *
 * Ends with 0 where there is no Synapse (synapse.ts says how to install one), and with 1 when a scenario did not pass.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { TestAuthority } from '../../test/support/certificates.js'
import { IdentityServer } from '../../test/support/identity-server.js'
import { startTestPostgres } from '../../test/support/test-cluster.js'
import { Progress } from '../bench/progress.js'
import type { Comparison } from './compare.js'
import { startHearth } from './hearth.js'
import { judge } from './judge.js'
import { type Company, type Outcome, playBothWays } from './run.js'
import { compareResolutions } from './resolutions.js'
import { scenariosFrom } from './scenarios/all.js'
import type { Surroundings } from './server.js'
import { findSynapse, type InstalledSynapse, startSynapse } from './synapse.js'

interface Options {
  readonly only: string
  readonly json: boolean
  readonly seed: string
  readonly seeds: string
  readonly logs?: string
  readonly resolutions?: string
  readonly judge?: string
  readonly minutes: string
}

const options = new Command('interop')
  .description('A Hearth and a real Synapse share rooms, both ways round, and are compared event by event')
  .option('--only <pattern>', 'the scenarios whose names match this regular expression', '')
  .option('--minutes <n>', 'begin no scenario after this time', '45')
  .option('--seed <n>', 'the first seed of what users do by chance', '1')
  .option('--seeds <n>', 'how many seeds are played of each room version', '1')
  .option('--logs <folder>', 'where the logs of the servers are kept, and rooms that they hold differently')
  .option(
    '--resolutions <n>',
    'start no servers; hold state resolution against Synapse in so many rooms of each version',
  )
  .option('--judge <file>', 'start nothing; say who is right about a room that was kept')
  .option('--json', 'print the outcomes as JSON', false)
  .parse()
  .opts<Options>()

const installed = findSynapse()
if (options.judge !== undefined) judgeKept(options.judge)
else if (typeof installed !== 'string' && options.resolutions !== undefined) {
  const same = await compareResolutions(installed.python, Number(options.seed), Number(options.resolutions))
  if (!same) process.exitCode = 1
} else if (typeof installed !== 'string') await withServers(installed)
else if (options.json) console.log(JSON.stringify({ left_out: installed, outcomes: [] }))
else console.error(`interop: left out: ${installed}`)

async function withServers(installed: InstalledSynapse): Promise<void> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-interop-')))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      rmSync(folder, { recursive: true, force: true })
      process.exit(1) // and what was started ends with this process
    })
  }
  const postgres = await startTestPostgres()
  try {
    const authority = new TestAuthority()
    const surroundings = { folder, tls: certificates(authority, folder) }
    const identity = await IdentityServer.start(authority)
    const servers = await Promise.allSettled([startHearth(surroundings), startSynapse(installed, surroundings)])
    try {
      const [hearth, synapse] = servers.map((server) => {
        if (server.status === 'rejected') throw server.reason as Error
        return server.value
      })
      report(installed, await playAll({ hearth: hearth!, synapse: synapse!, identity }))
    } finally {
      await Promise.all(servers.map(async (server) => server.status === 'fulfilled' && server.value.stop()))
      await identity.close()
    }
  } finally {
    await postgres.stop()
    if (options.logs !== undefined) keepLogs(folder, options.logs)
    rmSync(folder, { recursive: true, force: true })
  }
}

function certificates(authority: TestAuthority, folder: string): Surroundings['tls'] {
  const { cert, key } = authority.issue('localhost', '127.0.0.1')
  const files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  writeFileSync(files.ca, authority.cert)
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  return files
}

async function playAll(company: Company): Promise<Outcome[]> {
  const progress = new Progress()
  const until = performance.now() + Number(options.minutes) * 60_000
  const outcomes: Outcome[] = []
  for (const scenario of scenariosFrom(options).filter(({ name }) => new RegExp(options.only).test(name))) {
    if (performance.now() > until) break
    progress.show(scenario.name)
    for await (const outcome of playBothWays(scenario, company)) {
      outcomes.push(outcome)
      progress.clear()
      if (!options.json) tell(outcome)
      if (outcome.result === 'differs' && options.logs !== undefined) keepRooms(outcome, options.logs)
    }
  }
  return outcomes
}

function tell({ scenario, home, result, details, seconds }: Outcome): void {
  console.log(`${result.padEnd(9)} ${home.padEnd(8)} ${scenario} (${seconds} s)`)
  for (const detail of details) console.log(`            ${detail}`)
}

function report({ version }: InstalledSynapse, outcomes: readonly Outcome[]): void {
  const passed = outcomes.filter(({ result }) => result === 'passed').length
  const other = outcomes.filter(({ result }) => result !== 'passed' && result !== 'left out').length
  if (options.json)
    console.log(JSON.stringify({ synapse: version, outcomes: outcomes.map(({ rooms: _, ...told }) => told) }))
  else console.log(`with Synapse ${version}: ${passed} passed, ${other} did not`)
  if (other > 0) process.exitCode = 1
}

function keepRooms({ scenario, home, rooms }: Outcome, logs: string): void {
  mkdirSync(logs, { recursive: true })
  const name = `${scenario} ${home} at home`.replaceAll(/[^a-z0-9]+/gi, '-')
  writeFileSync(join(logs, `differs-${name}.json`), JSON.stringify({ scenario, home, rooms }))
}

function judgeKept(file: string): void {
  const { rooms } = JSON.parse(readFileSync(file, 'utf8')) as { rooms: readonly Comparison[] }
  for (const { roomId, held } of rooms) for (const line of judge(held)) console.log(`${roomId}: ${line}`)
}

function keepLogs(folder: string, logs: string): void {
  mkdirSync(logs, { recursive: true })
  for (const name of ['hearth.log', 'synapse.log']) cpSync(join(folder, name), join(logs, name))
}
