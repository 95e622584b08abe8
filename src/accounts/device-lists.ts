import type { Kysely } from 'kysely'
import { deviceListsTold, untoldDeviceLists } from '../store/device-lists.js'
import type { LogWriter } from '../store/log-writer.js'
import type { Tables } from '../store/tables.js'

/**
 * Tells those who share a room with a user that the user's devices changed: a device is new, renamed or gone, or its keys
 * are others. The change itself was committed with a note (`noteDeviceListChange`), so that a process that dies here
 * leaves behind what is still to be told.
 * https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
 */
export class DeviceLists {
  constructor(
    private readonly db: Kysely<Tables>,
    private readonly writer: LogWriter,
    /** Leaves to other servers what they have to hear of the users; resolves when it cannot be lost. */
    private readonly tellServers: (userIds: Iterable<string>) => Promise<void> = () => Promise.resolve(),
  ) {}

  /** After the commit of what changed. Resolves when the log has it. */
  async changed(...userIds: string[]): Promise<void> {
    await this.tell(await untoldDeviceLists(this.db, { userIds }))
  }

  /** What processes that died have left since before a time (ms); at most a thousand. Returns how many. */
  async tellLeftOver(before: number): Promise<number> {
    const changes = await untoldDeviceLists(this.db, { before })
    await this.tell(changes)
    return changes.length
  }

  private async tell(changes: readonly { number: number; userId: string }[]): Promise<void> {
    const users = new Set(changes.map((change) => change.userId))
    if (users.size === 0) return
    await this.writer.write(Array.from(users, (user) => ({ kind: 'device-list', user }) as const))
    await this.tellServers(users)
    await deviceListsTold(
      this.db,
      changes.map((change) => change.number),
    )
  }
}
