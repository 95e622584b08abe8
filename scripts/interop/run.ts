import type { IdentityServer } from '../../test/support/identity-server.js'
import type { Server } from './server.js'
import { compareRoom, type Comparison } from './compare.js'
import { judge } from './judge.js'
import { type Scenario, Stage } from './scenario.js'

export interface Outcome {
  readonly scenario: string
  readonly home: Server['kind']
  /** `differs`: all was done, and the servers do not hold the same room. */
  readonly result: 'passed' | 'failed' | 'differs' | 'left out'
  readonly details: readonly string[]
  readonly seconds: number
  /** As they were compared. */
  readonly rooms?: readonly Comparison[]
}

export interface Company {
  readonly hearth: Server
  readonly synapse: Server
  readonly identity: IdentityServer
}

const SCENARIO_MS = 240_000

/** Plays the scenario with either server at home. */
export async function* playBothWays(
  scenario: Scenario,
  { hearth, synapse, identity }: Company,
): AsyncGenerator<Outcome> {
  for (const [home, away] of [
    [hearth, synapse],
    [synapse, hearth],
  ] as const) {
    const started = performance.now()
    const result = await playOrTell(scenario, home, away, identity)
    const seconds = Math.round((performance.now() - started) / 100) / 10
    yield { scenario: scenario.name, home: home.kind, ...result, seconds }
  }
}

async function playOrTell(
  scenario: Scenario,
  home: Server,
  away: Server,
  identity: IdentityServer,
): Promise<Pick<Outcome, 'result' | 'details' | 'rooms'>> {
  const hearthIs = home.kind === 'Hearth' ? 'home' : 'away'
  const { leftOut } = scenario
  if (leftOut?.hearthIs === hearthIs || leftOut?.hearthIs === 'either') {
    return { result: 'left out', details: [leftOut.because] }
  }
  try {
    const rooms = await inTime(play(scenario, home, away, identity))
    const details = rooms.flatMap(({ roomId, differences }) => differences.map((what) => `${roomId}: ${what}`))
    return { result: details.length === 0 ? 'passed' : 'differs', details, rooms }
  } catch (error) {
    return { result: 'failed', details: [(error as Error).message] }
  } finally {
    await Promise.all([home.link.mend(), away.link.mend()])
  }
}

async function play(scenario: Scenario, home: Server, away: Server, identity: IdentityServer): Promise<Comparison[]> {
  const [alice, bob] = await Promise.all([home.user(), away.user()])
  const stage = new Stage(home, away, alice, bob, identity)
  await scenario.play(stage)
  const compared: Comparison[] = []
  for (const roomId of stage.rooms) {
    const found = await compareRoom(roomId, { server: home, user: alice }, { server: away, user: bob })
    compared.push({ ...found, differences: [...found.differences, ...judge(found.held)] })
  }
  return compared
}

async function inTime<T>(playing: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it takes longer than ${SCENARIO_MS / 1_000} s`)), SCENARIO_MS)
  })
  try {
    return await Promise.race([playing, late])
  } finally {
    clearTimeout(timer)
  }
}
