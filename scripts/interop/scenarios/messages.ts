import { bodies, hasEvent, history, reads, redact, roomPath, same, setState, soon, stateContent } from '../actions.js'
import type { Scenario } from '../scenario.js'
import type { TestUser } from '../../../test/support/test-user.js'

const numbered = (count: number, word = 'message'): string[] =>
  Array.from({ length: count }, (_, index) => `${word} ${index}`)

async function sayAll(user: TestUser, roomId: string, messages: readonly string[]): Promise<void> {
  for (const message of messages) await user.say(roomId, message)
}

const isRedacted = (user: TestUser, roomId: string, eventId: string): Promise<boolean> =>
  soon(`${user.userId} sees ${eventId} redacted`, async () => {
    const { status, body } = await user.get(roomPath(roomId, 'event', eventId))
    return status === 200 && body.content.body === undefined
  })

async function send(user: TestUser, roomId: string, type: string, content: object): Promise<string> {
  return (await user.ok('PUT', roomPath(roomId, 'send', type, String(Math.random())), content)).event_id
}

export const messages: readonly Scenario[] = [
  {
    name: 'history is fetched after the join, all of it and in order',
    async play(stage) {
      const roomId = await stage.room()
      const said = numbered(70)
      await sayAll(stage.alice, roomId, said)
      await stage.letIn(stage.bob, roomId)
      const fetched = async () => bodies(await history(stage.bob, roomId)).length >= said.length
      await soon('bob has the history', fetched)
      same('history', bodies(await history(stage.bob, roomId)).reverse(), said)
    },
  },
  {
    name: 'history is fetched with its states, redactions and leavings',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room()
      const anna = await stage.home.user()
      await anna.join(roomId)
      for (let i = 0; i < 12; i++) {
        await anna.say(roomId, `anna ${i}`)
        await setState(alice, roomId, 'm.room.topic', { topic: `topic ${i}` })
        await redact(alice, roomId, await anna.say(roomId, `gone ${i}`))
      }
      await anna.ok('POST', roomPath(roomId, 'leave'), {})
      await stage.letIn(bob, roomId)
      const seen = (events: readonly { event_id: string; type: string; content: object }[]) =>
        events.map(({ event_id, type, content }) => [event_id, type, Object.keys(content).sort()]).reverse()
      const whole = seen(await history(alice, roomId))
      await soon('bob has the history', async () => (await history(bob, roomId)).length >= whole.length)
      same('history', seen(await history(bob, roomId)), whole)
    },
  },
  {
    name: 'history that only members may read is not given to who came later',
    async play(stage) {
      const { alice, bob } = stage
      const content = { history_visibility: 'joined' }
      const initial_state = [{ type: 'm.room.history_visibility', state_key: '', content }]
      const roomId = await stage.room({ preset: 'public_chat', initial_state })
      await sayAll(alice, roomId, numbered(5, 'secret'))
      await stage.letIn(bob, roomId)
      await alice.say(roomId, 'for all')
      await reads(bob, roomId, 'for all')
      same('bob reads', bodies(await history(bob, roomId)), ['for all'])
    },
  },
  {
    name: 'a hundred messages at once from both sides',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const both = [alice, bob].flatMap((user) => numbered(50, user.userId).map((text) => user.say(roomId, text)))
      const eventIds = await Promise.all(both)
      for (const user of [alice, bob]) for (const eventId of eventIds) await hasEvent(user, roomId, eventId)
      await stage.meetAgain(roomId)
    },
  },
  {
    name: 'texts that are hard to keep: astral, right to left, U+0000, long',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const texts = [
        '🎉 ünïcödé \u{1F469}\u200D\u{1F680}',
        '\u05E9\u05DC\u05D5\u05DD \u202Eabc',
        'nul\u0000inside',
        'x'.repeat(40_000),
      ]
      for (const text of texts) {
        await alice.say(roomId, text)
        await reads(bob, roomId, text)
        await bob.say(roomId, `${text}.`)
        await reads(alice, roomId, `${text}.`)
      }
      await setState(
        alice,
        roomId,
        'org.example.odd',
        { '\u0000': [1, -1, 0, 9_007_199_254_740_991] },
        'key/\u{1F600} \u202E',
      )
      await send(bob, roomId, 'org.example.odd', { ' ': { a: [[], {}, null, true, ''] } })
    },
  },
  {
    name: 'redactions by the sender, by a moderator, and by who may not',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const [own, moderated, kept] = [
        await bob.say(roomId, 'own'),
        await bob.say(roomId, 'bad'),
        await alice.say(roomId, 'kept'),
      ]
      for (const eventId of [own, moderated, kept])
        for (const user of [alice, bob]) await hasEvent(user, roomId, eventId)
      await redact(bob, roomId, own)
      await redact(alice, roomId, moderated)
      for (const eventId of [own, moderated]) for (const user of [alice, bob]) await isRedacted(user, roomId, eventId)
      same('kept', (await alice.ok('GET', roomPath(roomId, 'event', kept))).content.body, 'kept')
      const { status } = await bob.put(roomPath(roomId, 'redact', kept, 'no'), {})
      same('bob redacts alice', status, 403)
    },
  },
  {
    name: 'a redaction of state',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.shared()
      const topic = await setState(alice, roomId, 'm.room.topic', { topic: 'to be redacted' })
      await hasEvent(bob, roomId, topic)
      await redact(alice, roomId, topic)
      const gone = async () => Object.keys(await stateContent(bob, roomId, 'm.room.topic')).length === 0
      await soon('bob sees it empty', gone)
    },
  },
  {
    name: 'the event nearest to a time, and its context',
    async play(stage) {
      const { alice, bob } = stage
      const roomId = await stage.room()
      const eventId = await alice.say(roomId, 'before bob')
      const { origin_server_ts } = await alice.ok('GET', roomPath(roomId, 'event', eventId))
      await sayAll(alice, roomId, numbered(15))
      await stage.letIn(bob, roomId)
      const path = `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=${origin_server_ts}&dir=f`
      const nearest = async () => (await bob.get(path)).body.event_id === eventId
      await soon('the nearest event is found', nearest)
      const { event } = await bob.ok('GET', roomPath(roomId, 'context', eventId))
      same('context', event.event_id, eventId)
    },
  },
]
