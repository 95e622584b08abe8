/** What users do in scenarios, by the client API alone, so that it is the same at every server. */
import { randomBytes } from 'node:crypto'
import { eventually } from '../../test/support/eventually.js'
import type { Answer } from '../../test/support/http.js'
import type { TestUser } from '../../test/support/test-user.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- answers of every shape are looked into */

export const v3 = '/_matrix/client/v3'
/** How long the servers may take to agree on anything. */
export const PATIENCE_MS = 30_000

export const roomPath = (roomId: string, ...rest: readonly string[]): string =>
  `${v3}/rooms/${[roomId, ...rest].map(encodeURIComponent).join('/')}`

export const soon = <T>(what: string, condition: () => Promise<T>): Promise<NonNullable<T>> =>
  eventually(what, condition, { within: PATIENCE_MS, every: 100 })

export const serverOf = ({ userId }: TestUser): string => userId.slice(userId.indexOf(':') + 1)

// Older servers read server_name, newer ones via.
const viaQuery = (via: readonly string[]): string =>
  via.flatMap((name) => [`via=${name}`, `server_name=${name}`]).join('&')

export const tryToJoin = (user: TestUser, room: string, ...via: string[]): Promise<Answer> =>
  user.post(`${v3}/join/${encodeURIComponent(room)}?${viaQuery(via)}`)

/** Joins by the word of the named servers. */
export const joinVia = (user: TestUser, room: string, ...via: string[]): Promise<any> =>
  user.ok('POST', `${v3}/join/${encodeURIComponent(room)}?${viaQuery(via)}`, {})

export const knock = (user: TestUser, room: string, ...via: string[]): Promise<any> =>
  user.ok('POST', `${v3}/knock/${encodeURIComponent(room)}?${viaQuery(via)}`, { reason: 'please' })

export const act = (user: TestUser, roomId: string, action: string, body: object = {}): Promise<Answer> =>
  user.post(roomPath(roomId, action), body)

/** `invite`, `kick`, `ban`, `unban`. */
export async function moderate(user: TestUser, roomId: string, action: string, target: TestUser): Promise<void> {
  await user.ok('POST', roomPath(roomId, action), { user_id: target.userId })
}

export const leave = (user: TestUser, roomId: string): Promise<any> => user.ok('POST', roomPath(roomId, 'leave'), {})

export async function setState(
  user: TestUser,
  roomId: string,
  type: string,
  content: object,
  key = '',
): Promise<string> {
  return (await user.ok('PUT', roomPath(roomId, 'state', type, key), content)).event_id
}

export const state = (user: TestUser, roomId: string): Promise<any[]> => user.ok('GET', roomPath(roomId, 'state'))

export const stateContent = async (user: TestUser, roomId: string, type: string, key = ''): Promise<any> =>
  (await user.get(roomPath(roomId, 'state', type, key))).body

export async function memberships(user: TestUser, roomId: string): Promise<Record<string, string>> {
  const { status, body } = await user.get(roomPath(roomId, 'members'))
  if (status !== 200) return {}
  return Object.fromEntries(body.chunk.map((event: any) => [event.state_key, event.content.membership]))
}

/** Until `user` sees `target` with the membership. */
export const sees = (user: TestUser, roomId: string, target: TestUser, membership: string): Promise<boolean> =>
  soon(
    `${user.userId} sees ${target.userId} with ${membership}`,
    async () => (await memberships(user, roomId))[target.userId] === membership,
  )

/** All events of the room that the user may page to, newest first. */
export async function history(user: TestUser, roomId: string): Promise<any[]> {
  const events: any[] = []
  let from = ''
  for (let page = 0; page < 100; page++) {
    const { chunk, end } = await user.ok('GET', `${roomPath(roomId, 'messages')}?dir=b&limit=20${from}`)
    events.push(...chunk)
    if (end === undefined || end === null) return events
    from = `&from=${encodeURIComponent(end)}`
  }
  throw new Error(`paging back through ${roomId} does not end`)
}

export const bodies = (events: readonly any[]): string[] =>
  events.flatMap(({ content }) => (typeof content.body === 'string' ? [content.body as string] : []))

/** Until the user reads this. */
export async function reads(user: TestUser, roomId: string, body: string, within = PATIENCE_MS): Promise<void> {
  const read = async () => bodies(await recent(user, roomId)).includes(body)
  await eventually(`${user.userId} reads “${body}”`, read, { within, every: 100 })
}

export const hasEvent = (user: TestUser, roomId: string, eventId: string): Promise<boolean> =>
  soon(`${user.userId} has ${eventId}`, async () => (await user.get(roomPath(roomId, 'event', eventId))).status === 200)

async function recent(user: TestUser, roomId: string): Promise<any[]> {
  const { status, body } = await user.get(`${roomPath(roomId, 'messages')}?dir=b&limit=100`)
  return status === 200 ? body.chunk : []
}

export async function redact(user: TestUser, roomId: string, eventId: string): Promise<string> {
  const path = roomPath(roomId, 'redact', eventId, randomBytes(6).toString('hex'))
  return (await user.ok('PUT', path, { reason: 'interop' })).event_id
}

/** Until the sync of `user` has the room in this section: `invite`, `knock`, `join`, `leave`. */
export const inSync = (user: TestUser, section: string, roomId: string): Promise<any> =>
  soon(`the room is in ${section} of the sync of ${user.userId}`, async () => {
    const { rooms } = await user.sync({ filter: { room: { include_leave: true, timeline: { limit: 5 } } } })
    return rooms?.[section]?.[roomId]
  })

/** The answer must be one of refusal. */
export function refused({ status, body }: Answer, errcode: string): void {
  if (body.errcode !== errcode) throw new Error(`instead of ${errcode}: ${status} ${JSON.stringify(body)}`)
}

export function same(what: string, one: unknown, other: unknown): void {
  const [first, second] = [JSON.stringify(one), JSON.stringify(other)]
  if (first !== second) throw new Error(`${what}: ${first} is not ${second}`)
}
