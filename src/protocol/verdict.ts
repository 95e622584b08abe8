/// <reference lib="es2024.string" />
/**
 * The answer of a check on an event. A refusal is a normal result, kept with the event and shown in logs; exceptions in
 * the protocol core mean a fault of our own, such as an auth event the caller promised and did not give.
 */
export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly reason: string }

export const allow: Verdict = { allowed: true }
export const reject = (reason: string): Verdict => ({ allowed: false, reason: printable(reason) })

/**
 * Reasons quote what peers wrote: types, keys, ids. They are kept in a text column, which has no place for U+0000 and half
 * surrogate pairs, and shown in logs, so no peer makes them long or breaks their lines.
 */
const printable = (reason: string): string =>
  reason.length <= MAX_REASON && !unprintable.test(reason)
    ? reason
    : reason.slice(0, MAX_REASON).replace(everyUnprintable, '\ufffd').toWellFormed()

const MAX_REASON = 500
// eslint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u001f\u007f\u2028\u2029\ud800-\udfff]/
// eslint-disable-next-line no-control-regex
const everyUnprintable = /[\u0000-\u001f\u007f\u2028\u2029]/g
