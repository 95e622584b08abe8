import { describe, expect, it } from '@jest/globals'
import { startFederation } from '../support/federation.js'
import { eventually } from '../support/eventually.js'

const [one, two] = await startFederation(2)
const alice = await one!.user('alice')
const bob = await two!.user('bob')
const v3 = '/_matrix/client/v3'

const give = (roomId: string, alias: string) =>
  bob.ok('PUT', `${v3}/directory/room/${encodeURIComponent(alias)}`, { room_id: roomId })

async function sharedRoom(): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'public_chat' })
  await bob.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
  return roomId
}

const name = (roomId: string, alias: string) =>
  alice.put(`${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.canonical_alias/`, { alias })

describe('the canonical alias of a room', () => {
  it('may be one of another server', async () => {
    const roomId = await sharedRoom()
    await give(roomId, `#ours:${two!.name}`)
    expect((await name(roomId, `#ours:${two!.name}`)).status).toBe(200)
    const path = `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.canonical_alias/`
    await eventually('bob sees it', async () => (await bob.get(path)).body.alias === `#ours:${two!.name}`)
  })

  it('is not one that the other server does not know, or knows as another room', async () => {
    const [roomId, other] = [await sharedRoom(), await sharedRoom()]
    await give(other, `#others:${two!.name}`)
    for (const alias of [`#none:${two!.name}`, `#others:${two!.name}`]) {
      const { status, body } = await name(roomId, alias)
      expect([status, body.errcode]).toEqual([400, 'M_BAD_ALIAS'])
    }
  })

  it('is not one of a server that does not answer', async () => {
    const roomId = await sharedRoom()
    await two!.unplug()
    const { status, body } = await name(roomId, `#ours:${two!.name}`)
    await two!.plug()
    expect([status, body.errcode]).toEqual([400, 'M_BAD_ALIAS'])
  })
})
