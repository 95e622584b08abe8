import { endpointsOver } from '../http/endpoint.js'
import type { ServerServices } from './services.js'

export const endpoint = endpointsOver<ServerServices>()
