/** The accounts and rooms a scenario works with, made before anything is measured. Accounts are shared by its variants. */

import { randomBytes } from 'node:crypto'
import { concurrently } from './concurrently.js'
import { Api, createRoom, joinPath, register, type Account } from './matrix.js'
import type { Progress } from './progress.js'
import type { Target } from './target.js'

const SETUP_WIDTH = 8

export class Population {
  readonly api: Api
  readonly #accounts: Account[] = []
  /** Tells this run's users from those of other runs. */
  readonly #run = randomBytes(4).toString('hex')

  constructor(
    readonly target: Target,
    readonly progress: Progress,
    readonly roomVersion: string,
    readonly signal: AbortSignal,
  ) {
    this.api = new Api(target)
  }

  /** The first `count` accounts; those that are missing are registered. */
  async accounts(count: number): Promise<Account[]> {
    const have = this.#accounts.length
    const missing = Math.max(0, count - have)
    const made = await concurrently(missing, SETUP_WIDTH, async (index) => {
      this.signal.throwIfAborted()
      this.progress.show(`${this.target.label}: account ${index + 1} of ${missing}`)
      return register(this.api, `bench-${this.#run}-${have + index}`)
    })
    this.#accounts.push(...made)
    return this.#accounts.slice(0, count)
  }

  /** A public room made by the first of the members, with all of them joined. */
  async room(members: readonly Account[]): Promise<string> {
    const [creator, ...others] = members
    const roomId = await createRoom(this.api, creator!, this.roomVersion)
    await concurrently(others.length, SETUP_WIDTH, async (index) => {
      this.signal.throwIfAborted()
      this.progress.show(`${this.target.label}: member ${index + 1} of ${others.length}`)
      await this.api.call('POST', joinPath(roomId), others[index]!.token, {})
    })
    return roomId
  }

  close(): void {
    this.api.close()
  }
}
