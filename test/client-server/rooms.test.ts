import { describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { startTestHomeserver } from '../support/homeserver.js'

const homeserver = await startTestHomeserver()
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const v3 = '/_matrix/client/v3'

describe('createRoom', () => {
  it.each(roomVersionNames)('makes a room of version %s, in which others join and talk', async (version) => {
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version, name: 'A room' })
    await bob.join(roomId)
    const eventId = await bob.say(roomId, 'hello')
    expect(eventId).toMatch(/^\$/)
  })
})
