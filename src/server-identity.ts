import { randomBytes } from 'node:crypto'
import type { Config } from './config.js'
import { encodeBase64Url } from './protocol/base64.js'
import type { SigningKey } from './protocol/signing.js'
import { makeSigningKey, readSigningKey } from './signing-key.js'
import type { Database } from './store/database.js'
import { recordServer, replaceSigningKey, serverRecord, type ServerRecord } from './store/server.js'

export interface ServerIdentity {
  readonly record: ServerRecord
  readonly signingKey: SigningKey
}

/** The data and the configuration do not belong together. The message says what to do. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError'
}

/**
 * Who this server is: the name and the key that its data was begun with. The first start records them; every other start
 * must come with the same, because events and accounts carry the name, and peers know the key. `rotated` accepts another
 * key once, and keeps the former one among those that peers can verify old events with.
 */
export async function establishIdentity(
  { db }: Database,
  config: Config,
  { rotated = false, now = Date.now } = {},
): Promise<ServerIdentity> {
  const known = (await serverRecord(db)) ?? (await begin(db, config, now()))
  if (known.serverName !== config.serverName) throw otherName(known, config)
  const signingKey =
    readSigningKey(config.signingKeyFile) ?? (rotated ? makeSigningKey(config.signingKeyFile) : undefined)
  if (signingKey === undefined) throw missingKey(known, config)
  if (isSameKey(known, signingKey)) return { record: known, signingKey }
  if (!rotated) throw otherKey(known, config, signingKey)
  if (known.signingKeyId === signingKey.keyId) throw sameVersion(config, signingKey)
  await db.transaction().execute((trx) => replaceSigningKey(trx, signingKey, now()))
  return { record: { ...known, signingKeyId: signingKey.keyId, signingPublicKey: signingKey.publicKey }, signingKey }
}

/** The first start. Of several at once one is first, and the others find its row. */
async function begin(db: Database['db'], config: Config, now: number): Promise<ServerRecord> {
  const key = readSigningKey(config.signingKeyFile) ?? makeSigningKey(config.signingKeyFile)
  const record: ServerRecord = {
    serverName: config.serverName,
    signingKeyId: key.keyId,
    signingPublicKey: key.publicKey,
    logEpoch: encodeBase64Url(randomBytes(6)),
    stateIdentityKey: randomBytes(32),
    createdTs: now,
  }
  await recordServer(db, record)
  return (await serverRecord(db)) ?? record
}

const isSameKey = (known: ServerRecord, key: SigningKey): boolean =>
  known.signingKeyId === key.keyId && Buffer.compare(known.signingPublicKey, key.publicKey) === 0

const otherName = (known: ServerRecord, config: Config) =>
  new IdentityError(
    `This data belongs to the server "${known.serverName}", and SERVER_NAME is "${config.serverName}". The name is part ` +
      `of every user and room and cannot change. Set SERVER_NAME=${known.serverName}, or begin anew with another ` +
      (config.database.own ? `DATA_DIR (now ${config.dataDir})` : 'database in DATABASE_URL'),
  )

const HOW_TO_ROTATE =
  'If the former key is lost or was replaced on purpose, start once with `hearth --signing-key-rotated` ' +
  '(`npm start -- --signing-key-rotated`)'

const missingKey = (known: ServerRecord, { signingKeyFile }: Config) =>
  new IdentityError(
    `The signing key of this server, ${known.signingKeyId}, is not in ${signingKeyFile} (SIGNING_KEY_FILE): there is no ` +
      `such file. Put it back from your backup, or copy it from another machine of this server. ${HOW_TO_ROTATE}, which makes a new one`,
  )

const otherKey = (known: ServerRecord, { signingKeyFile }: Config, key: SigningKey) =>
  new IdentityError(
    `The database knows this server by the signing key ${known.signingKeyId}, but ${signingKeyFile} (SIGNING_KEY_FILE) ` +
      `holds another one, ${key.keyId}. Peers would refuse what it signs. ${HOW_TO_ROTATE}`,
  )

const sameVersion = ({ signingKeyFile }: Config, key: SigningKey) =>
  new IdentityError(
    `The new signing key in ${signingKeyFile} has the same name as the former one, ${key.keyId}. Peers tell keys apart ` +
      `by their names: give it another version, the second word of the file`,
  )
