/**
 * The integers that stand for the long names of Matrix inside this server. They are ours, never cross the wire, and are
 * branded so that one cannot be passed where another is wanted. Text ids become numbers once, where a request enters.
 */

/** A room we hold or were invited to. Fits 31 bits. */
export type RoomNumber = number & { readonly __brand: 'RoomNumber' }
/** The identity of an event on this server, in no particular order. Fits 40 bits. */
export type EventNumber = number & { readonly __brand: 'EventNumber' }
/** A place in the one log of this server: what `since` tokens are made of. */
export type Position = number & { readonly __brand: 'Position' }
/** An interned `(type, state_key)`. Fits 32 bits unsigned. */
export type StateKeyNumber = number & { readonly __brand: 'StateKeyNumber' }
/** Where a root of a state trie is stored: `segment * 256 + slot` within its room. Fits 48 bits. */
export type StateReference = number & { readonly __brand: 'StateReference' }
/** A device of a local user, which is also what an access token belongs to. */
export type DeviceNumber = number & { readonly __brand: 'DeviceNumber' }
