/**
 * EDUs of other servers: typing, receipts, presence, messages to devices, changes of devices and keys. What a server may say is
 * bound to its name: an EDU speaks of its users only. https://spec.matrix.org/v1.19/server-server-api/#edus
 *
 * Each EDU is alone: one that is malformed, forged or of no use is counted and left out, and so is one over which we
 * stumble ourselves, since it would come again with every retry of its transaction. Only a database that is away is an
 * error, and the transaction is sent again. Those that change the same thing are taken in their order, the others at
 * once, so many; what one transaction may cost is bounded over all of them.
 */
import { OneAtATime } from '../../one-at-a-time.js'
import { isObject, own, ownString, type JsonObject } from '../../protocol/json.js'
import { MatrixError } from '../../protocol/matrix-error.js'
import { patienceForEntrances } from '../../room/inbound/entrances.js'
import type { Edus } from '../../room/inbound/received-transactions.js'
import { someAtOnce } from '../../some-at-once.js'
import { isUnavailable } from '../../store/unavailable.js'
import { EduCounters } from './counters.js'
import { takeDeviceListUpdate, takeSigningKeyUpdate } from './device-lists.js'
import type { Edu, EduDeps, EduHandler } from './edu.js'
import { takePresence } from './presence.js'
import { takeReceiptEdu } from './receipts.js'
import { takeToDevice } from './to-device.js'
import { takeTyping } from './typing.js'

const handlers: ReadonlyMap<string, EduHandler> = new Map([
  ['m.typing', takeTyping],
  ['m.receipt', takeReceiptEdu],
  ['m.presence', takePresence],
  ['m.direct_to_device', takeToDevice],
  ['m.device_list_update', takeDeviceListUpdate],
  ['m.signing_key_update', takeSigningKeyUpdate],
])

/** Of one transaction. `messageBytes` counts each device's copy. */
const MOST = { edus: 100, receipts: 2_000, presences: 1_000, messageBytes: 32 * 1024 * 1024 }
const AT_ONCE = 5

interface Known {
  readonly type: string
  readonly content: JsonObject
  readonly handler: EduHandler
}

export class IncomingEdus implements Edus {
  readonly counters = new EduCounters()
  /** A server has one transaction under way at a time; ids of messages are looked up before they are noted. */
  private readonly ofOrigin = new OneAtATime()

  constructor(private readonly deps: EduDeps) {}

  async take(origin: string, edus: readonly JsonObject[], patience = patienceForEntrances()): Promise<void> {
    const known = edus.slice(0, MOST.edus).flatMap((edu) => this.known(edu))
    for (let more = edus.length; more > MOST.edus; more--) this.counters.countDropped('too much')
    const left = { ...MOST }
    await this.ofOrigin.run(origin, () =>
      someAtOnce([...inOrder(known).values()], AT_ONCE, async (series) => {
        for (const one of series)
          await this.takeOne(one, { origin, content: one.content, left, counters: this.counters, patience })
      }),
    )
  }

  private known(edu: JsonObject): Known[] {
    const [type, content] = [ownString(edu, 'edu_type'), own(edu, 'content')]
    const handler = this.handlerOf(type)
    if (type !== undefined && handler !== undefined && isObject(content)) return [{ type, content, handler }]
    if (type === undefined || !isObject(content)) this.counters.countDropped('format')
    else this.counters.countReceived('ignored')
    return []
  }

  private handlerOf(type: string | undefined): EduHandler | undefined {
    if (type === undefined || (type === 'm.presence' && this.deps.presences === undefined)) return undefined
    return handlers.get(type)
  }

  private async takeOne({ type, handler }: Known, edu: Edu): Promise<void> {
    this.counters.countReceived(type)
    try {
      await handler(this.deps, edu)
    } catch (cause) {
      if (isUnavailable(cause)) throw cause
      const { origin } = edu
      this.counters.countDropped(cause instanceof MatrixError ? 'too much' : 'fault')
      if (cause instanceof MatrixError)
        this.deps.logger.info({ origin, type, reason: cause.message }, 'an EDU was dropped')
      else this.deps.logger.error({ err: cause, origin, type }, 'an EDU was not taken')
    }
  }
}

/** EDUs in series: those of one type and one user, where it names one at its top. */
function inOrder(known: readonly Known[]): Map<string, Known[]> {
  const series = new Map<string, Known[]>()
  for (const one of known) {
    const key = `${one.type} ${ownString(one.content, 'user_id') ?? ''}`
    const before = series.get(key)
    if (before === undefined) series.set(key, [one])
    else before.push(one)
  }
  return series
}
