/** A hostile server among honest ones: what it sends is its own affair, and that of nobody beside it. */
import { describe, expect, it } from '@jest/globals'
import { startWithHostilePeer } from '../support/hostile-peer.js'

const { hearth, peer, faults } = await startWithHostilePeer()
const mia = await hearth.user('mia')
const v3 = '/_matrix/client/v3'

describe('a room of the peer', () => {
  it('is joined, and heard of', async () => {
    const room = await peer.roomWith([mia])
    const said = room.say(peer.eve, 'hello')
    expect(await peer.send([said.text])).toMatchObject({ status: 200, body: { pdus: { [said.eventId]: {} } } })
    await peer.settled()
    const { chunk } = await mia.ok('GET', `${v3}/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=5`)
    expect(chunk[0]).toMatchObject({ event_id: said.eventId, content: { body: 'hello' } })
    expect(faults).toEqual([])
  })
})
