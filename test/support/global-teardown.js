export default async function globalTeardown() {
  await globalThis.hearthTestPostgres?.stop()
}
