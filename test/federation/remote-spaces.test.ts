import { describe, expect, it } from '@jest/globals'
import { AskedSpaces } from '../../src/federation/remote-spaces.js'
import { RemoteError } from '../../src/federation/remote.js'
import { ScriptedRemote } from '../support/scripted-remote.js'

const { signal } = new AbortController()
const told = (roomId: string, more: object = {}) => ({
  room: { room_id: roomId, num_joined_members: 1, children_state: [], ...more },
})

describe('a room that other servers are asked for', () => {
  it('is asked for once by all who want it at the same time, and remembered also when nobody answered', async () => {
    const remote = new ScriptedRemote()
    const spaces = new AskedSpaces(remote, 'hearth.test')
    remote.script = async () => told('!a:far.test')
    const [one, two] = await Promise.all([1, 2].map(() => spaces.ask('!a:far.test', ['far.test'], signal)))
    expect(one).toBe(two)
    expect(await spaces.ask('!a:far.test', ['far.test'], signal)).toBe(one)
    expect(remote.asked).toHaveLength(1)
    remote.script = () => undefined
    for (let time = 0; time < 2; time++) expect(await spaces.ask('!b:far.test', ['far.test'], signal)).toBeUndefined()
    expect(remote.asked).toHaveLength(2)
  })

  it('is asked for anew where it was refused: the server may have heard of our users meanwhile', async () => {
    const remote = new ScriptedRemote()
    const spaces = new AskedSpaces(remote, 'hearth.test')
    remote.script = async () => {
      throw new RemoteError('far.test', 404, 'M_NOT_FOUND', 'no', {})
    }
    expect(await spaces.ask('!a:far.test', ['far.test'], signal)).toBeUndefined()
    remote.script = async () => told('!a:far.test')
    expect((await spaces.ask('!a:far.test', ['far.test'], signal))?.room.room_id).toBe('!a:far.test')
  })

  it('is remembered by the server that told it: nobody else speaks for it', async () => {
    const remote = new ScriptedRemote()
    const spaces = new AskedSpaces(remote, 'hearth.test')
    remote.script = (server) => told('!a:far.test', { name: server })
    expect((await spaces.ask('!a:far.test', ['evil.test'], signal))?.room.name).toBe('evil.test')
    expect((await spaces.ask('!a:far.test', ['far.test'], signal))?.room.name).toBe('far.test')
  })

  it('is asked of three servers at most, never of this one, and of none once nobody waits', async () => {
    const remote = new ScriptedRemote()
    const spaces = new AskedSpaces(remote, 'hearth.test')
    const via = ['hearth.test', 'a.test', 'a.test', 'no name', 'b.test', 'c.test', 'd.test']
    expect(await spaces.ask('!a:far.test', via, signal)).toBeUndefined()
    expect(remote.asked.map(({ server }) => server)).toEqual(['a.test', 'b.test', 'c.test'])
    expect(await spaces.ask('!b:far.test', via, AbortSignal.abort())).toBeUndefined()
    expect(remote.asked).toHaveLength(3)
  })

  it('has the children that are some, in their order', async () => {
    const remote = new ScriptedRemote()
    const event = (state_key: string, more: object = {}) => ({
      type: 'm.space.child',
      state_key,
      sender: '@eve:far.test',
      content: { via: ['far.test'] },
      origin_server_ts: 1,
      ...more,
    })
    remote.script = () =>
      told('!a:far.test', {
        children_state: [
          event('!z:far.test', { origin_server_ts: 2 }),
          event('!b:far.test', { origin_server_ts: 'now', extra: 1 }),
          event('!c:far.test', { content: {} }),
          event('!d:far.test', { type: 'm.room.topic' }),
          event('!e:far.test', { sender: 'eve' }),
          event('f'),
          7,
          null,
        ],
        name: { toString: 1 },
        topic: 'x'.repeat(70_000),
      })
    const room = (await new AskedSpaces(remote, 'hearth.test').ask('!a:far.test', ['far.test'], signal))!.room
    expect(room.children_state).toEqual([
      event('!b:far.test', { origin_server_ts: 0 }),
      event('!z:far.test', { origin_server_ts: 2 }),
    ])
    expect(room).toMatchObject({ name: undefined, topic: undefined, join_rule: 'public' })
  })
})
