/**
 * Which servers a room lets take part: its `m.room.server_acl`, applied where another server makes a request or sends
 * something. https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
 */
import { forbidden } from '../protocol/matrix-error.js'
import { ServerAcl } from '../protocol/server-acl.js'
import type { RoomName } from '../store/room-names.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Rooms } from './rooms.js'

export class ServerAcls {
  /** An event may hold thousands of patterns: they are compiled once. A redaction gives the event another content. */
  private readonly compiled = new WeakMap<StoredEvent, { readonly content: object; readonly acl: ServerAcl }>()

  constructor(private readonly rooms: Pick<Rooms, 'currentState'>) {}

  /** By the current state of a room that is known here. */
  async allows(name: RoomName, serverName: string): Promise<boolean> {
    const event = await this.rooms.currentState(name, 'm.room.server_acl', '')
    if (event === undefined) return true
    const { content } = event.event
    let known = this.compiled.get(event)
    if (known?.content !== content) this.compiled.set(event, (known = { content, acl: new ServerAcl(content) }))
    return known.acl.allows(serverName)
  }

  /** @throws MatrixError 403 M_FORBIDDEN for a server that is denied. */
  async require(name: RoomName, serverName: string): Promise<void> {
    if (!(await this.allows(name, serverName))) throw forbidden('Your server is denied by the ACL of the room')
  }
}
