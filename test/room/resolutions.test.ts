import { afterAll, expect, it } from '@jest/globals'
import { identityOf } from '../../src/protocol/state-trie.js'
import { Resolutions } from '../../src/room/resolution/resolutions.js'
import { Missing, whenLoaded } from '../../src/store/missing.js'
import { StateView } from '../../src/store/state-view.js'
import { alice, bob, labRoom, type Branch } from '../support/laboratory/index.js'
import { holdRoom, receive } from '../support/inbound.js'
import { testDatabase } from '../support/postgres.js'
import { testRooms } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())

/** Two states that differ, and a try to resolve them: what has to be waited for, undefined when it is known. */
async function fork() {
  const lab = labRoom({ members: [bob], levels: { users: { [bob]: 50 } } })
  const room = await holdRoom(engine, lab)
  const [left, right] = lab.fork() as [Branch, Branch]
  const topics = [left.topic(alice, 'left'), right.topic(bob, 'right')]
  await receive(engine, room, topics)
  const ids = topics.map(({ eventId }) => eventId)
  const states = [...(await engine.stores.events.byIds(room.room, ids)).values()].map(({ stateAfter }) => stateAfter!)
  const view = new StateView(engine.stores, room.room)
  await whenLoaded(() => states.map((state) => view.run(identityOf(view.segments, state))))
  const resolutions = new Resolutions(engine.stores)
  const resolving = () => {
    try {
      resolutions.resolve(view, lab.rules, states)
      return undefined
    } catch (cause) {
      if (cause instanceof Missing) return cause.load()
      throw cause
    }
  }
  return { view, resolutions, resolving }
}

it('remembers what it resolved', async () => {
  const { resolving } = await fork()
  await resolving()
  expect(resolving()).toBeUndefined()
})

it('does not remember what it resolved of states that became others meanwhile', async () => {
  const { view, resolutions, resolving } = await fork()
  const first = resolving()
  resolutions.forget(view)
  await first
  const second = resolving()
  expect(second).toBeDefined()
  await second
  expect(resolving()).toBeUndefined()
})
