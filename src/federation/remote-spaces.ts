/**
 * Rooms and spaces that other servers know, asked of them and remembered for some minutes: also that they fail. A
 * refusal is not: who refuses may have yet to hear of our users in a room that lets them in.
 * Remembered is what a server said of the one room it was asked for. What it says of the children counts within this
 * space alone: any server can say anything of rooms that it is not in.
 */
import { LRUCache } from 'lru-cache'
import { isServerName, isUserId } from '../protocol/identifiers.js'
import { isObject, own, ownString, type Json } from '../protocol/json.js'
import { MatrixError } from '../protocol/matrix-error.js'
import { inOrder, isChild, type SpaceChild } from '../room/space-child.js'
import type { RemoteSpaces, ToldRoom } from '../room/space-hierarchy.js'
import { objectFrom } from './asking.js'
import type { Remote } from './remote.js'
import { count, readRoomPreview, roomIds } from './room-previews.js'

/** Each may let a client wait for the whole time-out. */
const MAX_SERVERS = 3
/** In ms. */
const TIMEOUT = 10_000
/** In ms. */
const REMEMBERED = 5 * 60_000
const MAX_BYTES = 2 * 1024 * 1024
/** Of all that is remembered. */
const MEMORY_BYTES = 16 * 1024 * 1024
const MAX_CHILDREN = 1_000

export class AskedSpaces implements RemoteSpaces {
  private readonly remembered = new LRUCache<string, { readonly told: ToldRoom | undefined }>({
    ttl: REMEMBERED,
    maxSize: MEMORY_BYTES,
    sizeCalculation: ({ told }) =>
      200 + (told === undefined ? 0 : 2 * JSON.stringify([told.room, ...told.children.values()]).length),
  })
  /** Being asked: who wants the same meanwhile waits for the same answer. */
  private readonly asking = new Map<string, Promise<ToldRoom | undefined>>()

  constructor(
    private readonly remote: Remote,
    private readonly serverName: string,
  ) {}

  async ask(roomId: string, servers: readonly string[], signal: AbortSignal): Promise<ToldRoom | undefined> {
    const others = [...new Set(servers)].filter((server) => server !== this.serverName && isServerName(server))
    for (const server of others.slice(0, MAX_SERVERS)) {
      if (signal.aborted) return undefined
      const told = await this.told(server, roomId)
      if (told !== undefined) return told
    }
    return undefined
  }

  private told(server: string, roomId: string): Promise<ToldRoom | undefined> {
    const key = `${server} ${roomId}`
    const known = this.remembered.get(key)
    if (known !== undefined) return Promise.resolve(known.told)
    let asking = this.asking.get(key)
    if (asking === undefined) {
      asking = this.askOne(server, roomId)
        .then((told) => {
          this.remembered.set(key, { told })
          return told
        })
        .catch((cause: unknown) => {
          if (!(cause instanceof MatrixError)) throw cause
          if (cause.status !== 403 && cause.status !== 404) this.remembered.set(key, { told: undefined })
          return undefined
        })
        .finally(() => this.asking.delete(key))
      this.asking.set(key, asking)
    }
    return asking
  }

  /** Not with a client's signal: others may wait for the same. @throws MatrixError */
  private async askOne(server: string, roomId: string): Promise<ToldRoom | undefined> {
    const path = `/_matrix/federation/v1/hierarchy/${encodeURIComponent(roomId)}?suggested_only=false`
    const answer = await objectFrom(this.remote, server, { method: 'GET', path, timeout: TIMEOUT, maxBytes: MAX_BYTES })
    const room = readRoomPreview(own(answer, 'room'))
    if (room?.room_id !== roomId) return undefined
    const childrenState = readChildren(own(answer, 'room'))
    const children = listOf(own(answer, 'children')).flatMap((child) => readRoomPreview(child) ?? [])
    return {
      room: { ...room, children_state: childrenState },
      children: new Map(children.map((child) => [child.room_id, child])),
      inaccessible: new Set(roomIds(own(answer, 'inaccessible_children')).slice(0, MAX_CHILDREN)),
    }
  }
}

const listOf = (given: Json | undefined): readonly Json[] => (Array.isArray(given) ? given.slice(0, MAX_CHILDREN) : [])

const readChildren = (room: Json | undefined): SpaceChild[] =>
  room !== undefined && isObject(room)
    ? inOrder(
        listOf(own(room, 'children_state'))
          .flatMap((child) => readChild(child) ?? [])
          .filter(isChild),
      )
    : []

function readChild(given: Json): SpaceChild | undefined {
  if (!isObject(given) || ownString(given, 'type') !== 'm.space.child') return undefined
  const [sender, content] = [ownString(given, 'sender') ?? '', own(given, 'content')]
  if (!isUserId(sender) || content === undefined || !isObject(content)) return undefined
  return {
    type: 'm.space.child',
    state_key: ownString(given, 'state_key') ?? '',
    sender,
    content,
    origin_server_ts: count(own(given, 'origin_server_ts')) ?? 0,
  }
}
