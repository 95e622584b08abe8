import type { Endpoint } from '../http/endpoint.js'
import type { ServerServices } from './services.js'

/** Every endpoint for other servers, in the order of the specification's OpenAPI. Adding one is one file, one line here, one test. */
export const routes: readonly Endpoint<ServerServices>[] = []
