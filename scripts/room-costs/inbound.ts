/** Events at hand, their signatures checked, each on the one before: how many a second are judged and durable. */
import { adopt, settle, take, timed, type Costs } from './costs.js'
import { Line } from './events.js'

export async function inboundOneRoom(costs: Costs): Promise<string> {
  const { line, arrivals } = Line.begin()
  const name = await adopt(costs, arrivals)
  await take(costs, name, arrivals.slice(1))
  const rounds = Array.from({ length: 6 }, () => Array.from({ length: 2_000 }, () => line.say()))
  const rates: number[] = []
  for (const round of rounds) {
    rates.push(2_000_000 / (await timed(() => take(costs, name, round))))
    await settle(costs)
  }
  return ratesOf(rates)
}

export async function inboundManyRooms(costs: Costs): Promise<string> {
  const rooms = Array.from({ length: 100 }, () => Line.begin())
  const names = await Promise.all(rooms.map(({ arrivals }) => adopt(costs, arrivals)))
  await Promise.all(rooms.map(({ arrivals }, i) => take(costs, names[i]!, arrivals.slice(1))))
  const rates: number[] = []
  for (let round = 0; round < 6; round++) {
    const batches = rooms.map(({ line }) => Array.from({ length: 50 }, () => line.say()))
    const ms = await timed(async () => {
      await Promise.all(batches.map((batch, i) => take(costs, names[i]!, batch, 50)))
    })
    rates.push(5_000_000 / ms)
    await settle(costs)
  }
  return ratesOf(rates)
}

/** The first round warms up. */
function ratesOf([, ...rates]: number[]): string {
  const sorted = rates.sort((a, b) => a - b)
  return `${Math.round(sorted[Math.floor(sorted.length / 2)]!).toLocaleString('en')} events/s (median of ${sorted.length})`
}
