import { serverNameOf } from '../identifiers.js'

/** Whether two identifiers are of one server. An identifier that names none matches none, not even another such. */
export function sameServer(left: string, right: string): boolean {
  const server = serverNameOf(left)
  return server !== undefined && server === serverNameOf(right)
}
