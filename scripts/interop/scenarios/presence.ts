import type { TestUser } from '../../../test/support/test-user.js'
import { same, soon, v3 } from '../actions.js'
import type { Scenario } from '../scenario.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- answers of every shape are looked into */

const path = ({ userId }: TestUser): string => `${v3}/presence/${encodeURIComponent(userId)}/status`

/** Until the syncs of the one show the other so. Resolves with the content. */
async function sees(viewer: TestUser, { userId }: TestUser, presence: string): Promise<any> {
  let since: string | undefined
  return soon(`${viewer.userId} sees ${userId} ${presence}`, async () => {
    const answer = await viewer.sync({ since, timeout: 1_000 })
    since = answer.next_batch
    const events: any[] = answer.presence?.events ?? []
    return events.find(({ sender, content }) => sender === userId && content.presence === presence)?.content
  })
}

export const presences: readonly Scenario[] = [
  {
    name: 'presence, with what people say of themselves, both ways',
    async play(stage) {
      await stage.shared()
      for (const [one, other] of [
        [stage.alice, stage.bob],
        [stage.bob, stage.alice],
      ] as const) {
        await one.ok('GET', `${v3}/sync?set_presence=online`)
        await sees(other, one, 'online')
        await one.ok('PUT', path(one), { presence: 'unavailable', status_msg: `${one.userId} makes cupcakes` })
        same('message', (await sees(other, one, 'unavailable')).status_msg, `${one.userId} makes cupcakes`)
        const asked = await other.ok('GET', path(one))
        same('asked for', [asked.presence, asked.status_msg], ['unavailable', `${one.userId} makes cupcakes`])
      }
    },
  },
]
