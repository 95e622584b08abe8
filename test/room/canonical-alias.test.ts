import { afterAll, describe, expect, it } from '@jest/globals'
import { checkCanonicalAlias } from '../../src/room/canonical-alias.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import { eventually } from '../support/eventually.js'
import { testDatabase } from '../support/postgres.js'
import { testRoom, testRooms, user } from '../support/rooms.js'

const engine = await testRooms(await testDatabase())
afterAll(() => engine.close())
const name = (await testRoom(engine, user('alice'))) as KnownRoom

const aliases = (count: number) => Array.from({ length: count }, (_, i) => `#alias-${i}:elsewhere.example`)

/** Other servers that answer when they are let. */
function slowServers() {
  const asked: string[] = []
  let answer = () => {}
  const free = new Promise<void>((resolve) => (answer = resolve))
  const resolveAlias = async (alias: string) => {
    asked.push(alias)
    await free
    return { roomId: name.roomId, servers: [] }
  }
  return { asked, answer: () => answer(), deps: { rooms: engine.rooms, remoteQueries: { resolveAlias } } }
}

describe('the aliases that a room is given', () => {
  it('are asked for some at once', async () => {
    const { asked, answer, deps } = slowServers()
    const checking = checkCanonicalAlias(deps, name, { alt_aliases: aliases(20) })
    await eventually('some are asked for', () => asked.length > 1)
    expect(asked.length).toBeLessThan(20)
    answer()
    await checking
    expect(asked.toSorted()).toEqual(aliases(20).toSorted())
  })

  it('are no more at once than other servers can be asked for', async () => {
    const { asked, deps } = slowServers()
    await expect(checkCanonicalAlias(deps, name, { alt_aliases: aliases(1_000) })).rejects.toMatchObject({
      status: 400,
      errcode: 'M_INVALID_PARAM',
    })
    expect(asked).toEqual([])
  })
})
