import type { Endpoint } from '../http/endpoint.js'
import { backfillRoom } from './backfill/backfill-room.js'
import { getMissingPreviousEvents } from './backfill/get-missing-previous-events.js'
import { getEventAuth } from './event_auth/get-event-auth.js'
import { getEventByTimestamp } from './events/get-event-by-timestamp.js'
import { getEvent } from './events/get-event.js'
import { getRoomStateIds } from './events/get-room-state-ids.js'
import { getRoomState } from './events/get-room-state.js'
import type { ServerServices } from './services.js'
import { sendTransaction } from './transactions/send-transaction.js'

/** Every endpoint for other servers, in the order of the specification's OpenAPI. Adding one is one file, one line here, one test. */
export const routes: readonly Endpoint<ServerServices>[] = [
  // Transactions, events, backfill
  sendTransaction,
  getEventAuth,
  backfillRoom,
  getMissingPreviousEvents,
  getRoomState,
  getRoomStateIds,
  getEvent,
  getEventByTimestamp,
]
