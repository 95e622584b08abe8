/**
 * Between the texts, and the signatures, that a message to or from the signing thread is made of: one string costs a copy,
 * an array of them each its own, and bytes the whole block of memory in which they lie. Canonical JSON has none.
 */
export const SEPARATOR = '\n'
