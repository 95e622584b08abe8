/**
 * `m.room.server_acl`: which servers a room lets take part. They are applied where a server makes a request or sends an
 * event, never by the authorisation rules. https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
 *
 * An event may hold thousands of patterns (CVE-2023-45129): make one `ServerAcl` of it and ask that again and again.
 */
import { isIPv4 } from 'node:net'
import { Glob } from './glob.js'
import { own, type Json, type JsonObject } from './json.js'

export class ServerAcl {
  private readonly allow: readonly Glob[]
  private readonly deny: readonly Glob[]
  private readonly allowsIpLiterals: boolean
  /** Of servers that were asked for: a room has few, and their events come again and again. */
  private readonly known = new Map<string, boolean>()

  constructor(content: JsonObject) {
    this.allow = globsOf(own(content, 'allow'))
    this.deny = globsOf(own(content, 'deny'))
    // Defaults to true if missing or otherwise not a boolean.
    this.allowsIpLiterals = own(content, 'allow_ip_literals') !== false
  }

  allows(serverName: string): boolean {
    const known = this.known.get(serverName)
    if (known !== undefined) return known
    const allowed = this.judge(serverName)
    if (this.known.size >= MOST_KNOWN) this.known.clear()
    this.known.set(serverName, allowed)
    return allowed
  }

  private judge(serverName: string): boolean {
    // When comparing against the server ACLs, the suspect server's port number must not be considered.
    const host = serverName.replace(/:[0-9]+$/, '')
    // If the server name is an IP address (v4 or v6) literal, and allow_ip_literals is present and false, deny.
    if (!this.allowsIpLiterals && isIpLiteral(host)) return false
    // If the server name matches an entry in the deny list, deny.
    if (this.deny.some((glob) => glob.matches(host))) return false
    // If the server name matches an entry in the allow list, allow. Otherwise, deny.
    return this.allow.some((glob) => glob.matches(host))
  }
}

const MOST_KNOWN = 10_000

/** In a server name an IPv6 address stands in brackets, which is why a port is found by its colon. */
const isIpLiteral = (host: string): boolean => host.startsWith('[') || isIPv4(host)

const globsOf = (list: Json | undefined): readonly Glob[] =>
  Array.isArray(list)
    ? (list as readonly Json[]).filter((item) => typeof item === 'string').map((item) => new Glob(item))
    : []
