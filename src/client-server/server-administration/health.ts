import { sql } from 'kysely'
import { endpoint } from '../endpoint.js'

/** GET /health, for load balancers and supervisors: 200 when requests can be served, 503 while the database is away. */
export const health = endpoint({
  operationId: 'health',
  method: 'get',
  path: '/health',
  auth: 'none',
  async handle({ db }) {
    await sql`select 1`.execute(db)
    return { status: 'ok' }
  },
})
