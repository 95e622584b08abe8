/** Third-party invites whose verdict takes more signature checks than an authorisation may make: decided on other threads. */
import { decide, signatureChecks, ThirdPartyInviteTooCostly } from '../protocol/authorization/index.js'
import { keyToVerify } from '../protocol/signing.js'
import { verifyOnPool } from './inbound/signatures.js'

/** Of one invite, at first: some 0.1 s of one thread. */
const MOST_CHECKS = 1_000
/** What the thread pool has threads for. */
const AT_ONCE = 4

/**
 * After it, authorisation knows whether the invite is vouched for. `effort`: how many times the limit it may cost.
 * @throws ThirdPartyInviteTooCostly, which is no verdict
 */
export async function decideInvite({ checks, redeemed }: ThirdPartyInviteTooCostly, effort: number): Promise<void> {
  const allowed = MOST_CHECKS * effort
  if (redeemed === undefined || checks > allowed) throw new ThirdPartyInviteTooCostly(checks, allowed, redeemed)
  const open = signatureChecks(redeemed)
  let isVouchedFor = false
  const work = async () => {
    for (const { publicKey, message, signature } of open) {
      const key = keyToVerify(publicKey, signature)
      if (key !== undefined && (await verifyOnPool(key, message, signature))) isVouchedFor = true
      if (isVouchedFor) return
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  decide(redeemed, isVouchedFor)
}
