import { endpointsOver } from '../http/endpoint.js'
import type { Services } from './services.js'

/** Declares an endpoint of this API; see src/http/endpoint.ts. */
export const endpoint = endpointsOver<Services>()
