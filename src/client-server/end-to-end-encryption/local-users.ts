import { isUserId, serverNameOf } from '../../protocol/identifiers.js'

/** Users of this server, and the other servers that were asked for users of theirs. What is no user id is passed over. */
export function byServer(userIds: readonly string[], serverName: string): { local: string[]; servers: Set<string> } {
  const valid = userIds.filter(isUserId)
  const local = valid.filter((userId) => serverNameOf(userId) === serverName)
  const servers = new Set(valid.map((userId) => serverNameOf(userId)!))
  servers.delete(serverName)
  return { local, servers }
}

/** Other servers cannot be asked for keys. */
export const unreachable = (servers: ReadonlySet<string>): Record<string, object> =>
  Object.fromEntries(Array.from(servers, (server) => [server, {}]))
