import { isUserId, serverNameOf } from '../../protocol/identifiers.js'

/** Users of this server and of others among what was asked for. What is no user id is passed over. */
export function usersByServer<T>(
  asked: Readonly<Record<string, T>>,
  serverName: string,
): { local: Map<string, T>; remote: Map<string, T> } {
  const valid = Object.entries(asked).filter(([userId]) => isUserId(userId))
  const isLocal = ([userId]: readonly [string, T]) => serverNameOf(userId) === serverName
  return { local: new Map(valid.filter(isLocal)), remote: new Map(valid.filter((entry) => !isLocal(entry))) }
}

/** Servers that were not reached; why is not told: what another server says of an error is not for our clients. */
export const failuresText = (servers: ReadonlySet<string>): string =>
  JSON.stringify(Object.fromEntries(Array.from(servers, (server) => [server, {}])))
