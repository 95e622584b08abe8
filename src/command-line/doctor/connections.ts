/** Addresses, ports and certificates, of everything that other servers may try. */
import { isIP } from 'node:net'
import type { Addresses } from '../../federation/addresses.js'
import type { Inspection, Target } from '../../federation/outbound-http.js'
import { doubt, type Finding, good, wrong } from './finding.js'

const DAY = 24 * 3_600_000
/** Certificates that are renewed by themselves have 30 days left at that time, or a third of a shorter life. */
const SOON = 10 * DAY

export interface ConnectionsDeps {
  /** Where requests may go to: what is not private, and what OUTBOUND_ALLOW names. */
  readonly reachable: Pick<Addresses, 'permit'>
  /** Names that the DNS does not know and this machine does. */
  readonly knownOnlyHere: ReadonlySet<string>
  readonly now: () => number
}

export function connectionFindings(
  target: Target,
  inspections: readonly Inspection[],
  deps: ConnectionsDeps,
): Finding[] {
  const anyConnected = inspections.some(({ failure }) => failure === undefined)
  return [
    ...target.places.map(({ host }) =>
      addressFinding(
        host,
        inspections.filter(({ place }) => place.host === host).flatMap(({ address }) => address ?? []),
        deps,
      ),
    ),
    ...inspections.flatMap((inspection) => connectionFinding(inspection, anyConnected) ?? []),
    ...certificateFindings(target, inspections, deps.now()),
  ]
}

const ADDRESS = 'Address'

function addressFinding(host: string, addresses: readonly string[], deps: ConnectionsDeps): Finding {
  if (addresses.length === 0) {
    return wrong(
      ADDRESS,
      `${host} has no address`,
      `Make an A record (and AAAA, for IPv6) of ${host} with the public address of this machine or its router.`,
    )
  }
  const unique = [...new Set(addresses)]
  const told = isIP(host) === 0 ? `${host} is ${unique.join(', ')}` : host
  const isPrivate = (address: string) => !deps.reachable.permit(address)
  const allPrivate = unique.every(isPrivate)
  if (allPrivate || unique.some(isPrivate)) {
    const say = allPrivate ? wrong : doubt
    return say(
      ADDRESS,
      `${told}; ${unique.filter(isPrivate).join(', ')} is reached from its own network only`,
      'Where the DNS of your network says something else than the public one, look from outside. Otherwise the A or AAAA ' +
        'record must have the public address. In a closed network, name its range in OUTBOUND_ALLOW, on every server.',
    )
  }
  if (deps.knownOnlyHere.has(host)) {
    return doubt(
      ADDRESS,
      `${told}, as this machine has it (/etc/hosts); the DNS does not know it`,
      'Other servers ask the DNS: make an A or AAAA record there.',
    )
  }
  return good(ADDRESS, told)
}

const CONNECTION = 'Connection'

/** Undefined where there was no address to connect to. */
function connectionFinding(inspection: Inspection, anyConnected: boolean): Finding | undefined {
  const { address, place, failure } = inspection
  if (address === undefined) return undefined
  const where = `${address} port ${place.port}`
  if (failure === undefined) return good(CONNECTION, `${where} answers`)
  const say = anyConnected ? doubt : wrong
  return say(CONNECTION, `${where}: ${failure}`, connectionAdvice(inspection.code, place.port, address))
}

function connectionAdvice(code: string | undefined, port: number, address: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return (
        `Nothing listens there. Start Hearth with TLS_LISTEN=0.0.0.0:${port}, or let the reverse proxy listen to port ${port}; ` +
        'if one does, the router must forward that port to this machine.'
      )
    case 'ETIMEDOUT':
      return (
        `A firewall drops it, or the router does not forward it: let TCP port ${port} in, also in the console of whoever rents you the ` +
        'machine. Some routers do not lead back to their own public address: then it may be right, and only a machine elsewhere can tell.'
      )
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'EADDRNOTAVAIL':
      return address.includes(':')
        ? 'This machine has no IPv6 to try it with. If it is to have none, take the AAAA record away: others lose time on it.'
        : 'There is no way from this machine to that address. Is it still yours?'
    default:
      return (
        `Something answers, and not with TLS. LISTEN is plain HTTP: other servers need TLS_LISTEN, or a reverse proxy with a ` +
        `certificate, at port ${port}.`
      )
  }
}

const CERTIFICATE = 'Certificate'

/** Once for all addresses that show the same. */
function certificateFindings({ certificateName }: Target, inspections: readonly Inspection[], now: number): Finding[] {
  const shown = new Map(
    inspections.flatMap((one) => (one.failure === undefined ? [[one.certificate.fingerprint256, one] as const] : [])),
  )
  return [...shown.values()].map(({ certificate, distrust, address }) => {
    const names = (certificate.subjectAltName ?? 'no name').replaceAll(/DNS:|IP Address:/g, '')
    const until = Date.parse(certificate.validTo)
    const whose = `for ${names}, until ${dayOf(until)}`
    if (distrust !== undefined) {
      return wrong(
        CERTIFICATE,
        `${address} shows one ${whose}: ${distrust}`,
        certificateAdvice(distrust, certificateName),
      )
    }
    if (until - now < SOON) {
      return doubt(
        CERTIFICATE,
        `${whose}: ${Math.floor((until - now) / DAY)} days are left`,
        'Renew it; if that happens by itself (certbot, Caddy), see why it has not.',
      )
    }
    return good(CERTIFICATE, `${whose}, of an authority that is trusted`)
  })
}

const dayOf = (ts: number): string => new Date(ts).toISOString().slice(0, 10)

function certificateAdvice(code: string, name: string): string {
  switch (code) {
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `Other servers want a certificate for ${name}, whatever names they were led by (an SRV record does not change it). Get one that has this name too.`
    case 'CERT_HAS_EXPIRED':
      return 'It has expired: renew it. Hearth takes the new file by itself; a reverse proxy may have to be told to.'
    case 'CERT_NOT_YET_VALID':
      return 'It begins to count in the future: is the clock of this machine right (`timedatectl`)?'
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return 'The certificates between it and the authority are missing: give the full chain (fullchain.pem, not cert.pem). With an authority of your own, every server needs it in TRUSTED_CA_FILE.'
    default:
      return "No authority that servers trust has signed it. Certificates are free from Let's Encrypt: Caddy gets them by itself, certbot for others. With an authority of your own, every server needs it in TRUSTED_CA_FILE."
  }
}
