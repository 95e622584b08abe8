import { URL } from 'node:url'
import './register-typescript.js'

/** Before all tests: one Postgres for the run. */
export default async function globalSetup() {
  const { startTestPostgres } = await import(new URL('./test-cluster.ts', import.meta.url).href)
  globalThis.hearthTestPostgres = await startTestPostgres()
}
