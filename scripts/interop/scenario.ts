import type { IdentityServer } from '../../test/support/identity-server.js'
import type { TestUser } from '../../test/support/test-user.js'
import { joinVia, PATIENCE_MS, reads, sees } from './actions.js'
import type { Server } from './server.js'

export interface Scenario {
  readonly name: string
  /** Why it is not played with Hearth at `home`, `away`, or either end. */
  readonly leftOut?: { readonly hearthIs: 'home' | 'away' | 'either'; readonly because: string }
  play(stage: Stage): Promise<void>
}

/** To be heard, each with an event that the other server may come back for. */
const ATTEMPTS = 10

/** Two servers and a user of each: alice, who makes the rooms, at home, and bob, who comes from away. */
export class Stage {
  /** To be compared when the scenario has ended. */
  readonly rooms: string[] = []
  #calls = 0

  constructor(
    readonly home: Server,
    readonly away: Server,
    readonly alice: TestUser,
    readonly bob: TestUser,
    /** Both servers may ask it. */
    readonly identity: IdentityServer,
  ) {}

  /** Made by alice. It is compared in the end, when both must be in it. */
  async room(options: object = { preset: 'public_chat' }): Promise<string> {
    const roomId = await this.alice.createRoom(options)
    this.rooms.push(roomId)
    return roomId
  }

  /** Made by alice, joined by bob, and alice knows. */
  async shared(options?: object): Promise<string> {
    const roomId = await this.room(options)
    await this.letIn(this.bob, roomId)
    return roomId
  }

  async letIn(user: TestUser, roomId: string): Promise<void> {
    await joinVia(user, roomId, this.home.name)
    await sees(this.alice, roomId, user, 'join')
    await sees(user, roomId, user, 'join')
  }

  /** Neither reaches the other meanwhile. Afterwards each has heard of the other in the room. */
  async apart(roomId: string, meanwhile: () => Promise<void>, mended = () => Promise.resolve()): Promise<void> {
    const links = [this.home.link, this.away.link]
    await Promise.all(links.map((link) => link.cut()))
    try {
      await meanwhile()
    } finally {
      await Promise.all(links.map((link) => link.mend()))
    }
    await mended()
    await this.meetAgain(roomId)
  }

  /** A server that has given the other up begins anew with the next event, so users speak until they are heard. */
  async meetAgain(roomId: string, one = this.alice, other = this.bob): Promise<void> {
    await Promise.all([this.callOut(roomId, one, other), this.callOut(roomId, other, one)])
  }

  async callOut(roomId: string, speaker: TestUser, listener: TestUser): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const words = `are you there? (${++this.#calls})`
      await speaker.say(roomId, words)
      try {
        return await reads(listener, roomId, words, attempt < ATTEMPTS ? 4_000 : PATIENCE_MS)
      } catch (error) {
        if (attempt === ATTEMPTS) throw error
      }
    }
  }
}
