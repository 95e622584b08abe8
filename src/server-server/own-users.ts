import { isUserId, serverNameOf } from '../protocol/identifiers.js'

/** What is asked for users of this server; others, and what is no user id, are passed over. */
export const usersOf = <T>(serverName: string, asked: Readonly<Record<string, T>>): Map<string, T> =>
  new Map(Object.entries(asked).filter(([userId]) => isUserId(userId) && serverNameOf(userId) === serverName))
