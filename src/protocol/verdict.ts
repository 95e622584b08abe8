/**
 * The answer of a check on an event. A refusal is a normal result, kept with the event and shown in logs; exceptions in
 * the protocol core mean a fault of our own, such as an auth event the caller promised and did not give.
 */
export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly reason: string }

export const allow: Verdict = { allowed: true }
export const reject = (reason: string): Verdict => ({ allowed: false, reason })
