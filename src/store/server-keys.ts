/**
 * The keys of other servers, and the answers in which they published them. A key stays when newer answers lack it: events
 * it signed are still about. See schema/0011-server-keys.sql.
 */
import { sql, type Kysely } from 'kysely'

export interface ServerKeyTables {
  server_key_answer: {
    answer: number
    server_name: string
    fetched_ts: number
    valid_until_ts: number
    used_ts: number
    body: string
  }
  server_key: {
    server_name: string
    key_id: string
    public_key: Buffer
    valid_until_ts: number
    is_old: boolean
    answer: number
  }
}

export interface PublishedKey {
  readonly keyId: string
  /** 32 bytes. */
  readonly key: Uint8Array
  /** In ms; `expired_ts` of an old key. */
  readonly validUntil: number
  /** It verifies events of its time, and no requests. */
  readonly isOld: boolean
}

/** A server's own word about its keys. Times are in ms. */
export interface KeyAnswer {
  readonly serverName: string
  readonly fetchedTs: number
  readonly validUntil: number
  readonly keys: readonly PublishedKey[]
  /** Canonical JSON, with the signatures. */
  readonly body: string
}

type Db = Kysely<ServerKeyTables>

/** A hostile server has new keys every time it is asked. */
const MAX_ANSWERS = 10
const DAY = 24 * 3_600_000

/**
 * The answers that are kept of each server, newest first, each with the keys that no newer one has. Servers of which there
 * are none are absent. Notes that they are used.
 */
export async function keyAnswers(
  db: Db,
  serverNames: readonly string[],
  nowTs: number,
): Promise<Map<string, KeyAnswer[]>> {
  const { rows } = await sql<AnswerRow>`
    select a.server_name, a.fetched_ts, a.valid_until_ts, a.used_ts, a.body,
      coalesce(json_agg(json_build_object('id', k.key_id, 'key', encode(k.public_key, 'hex'),
        'valid_until', k.valid_until_ts, 'is_old', k.is_old)) filter (where k.key_id is not null), '[]') as keys
    from server_key_answer a left join server_key k using (answer)
    where a.server_name = any(${serverNames}::text[])
    group by a.answer order by a.fetched_ts desc, a.answer desc
  `.execute(db)
  const unnoted = rows.filter((row) => row.used_ts < nowTs - DAY).map((row) => row.server_name)
  if (unnoted.length > 0) await noteUse(db, unnoted, nowTs)
  const found = new Map<string, KeyAnswer[]>()
  for (const answer of rows.map(keyAnswer)) {
    const answers = found.get(answer.serverName)
    if (answers === undefined) found.set(answer.serverName, [answer])
    else answers.push(answer)
  }
  return found
}

interface AnswerRow extends Omit<ServerKeyTables['server_key_answer'], 'answer'> {
  readonly keys: readonly KeyRow[]
}

interface KeyRow {
  readonly id: string
  readonly key: string
  readonly valid_until: number
  readonly is_old: boolean
}

const keyAnswer = (row: AnswerRow): KeyAnswer => ({
  serverName: row.server_name,
  fetchedTs: row.fetched_ts,
  validUntil: row.valid_until_ts,
  keys: row.keys.map(publishedKey),
  body: row.body,
})

const publishedKey = ({ id, key, valid_until, is_old }: KeyRow): PublishedKey => ({
  keyId: id,
  key: Buffer.from(key, 'hex'),
  validUntil: valid_until,
  isOld: is_old,
})

async function noteUse(db: Db, serverNames: readonly string[], nowTs: number): Promise<void> {
  await sql`
    update server_key_answer set used_ts = ${nowTs} where answer in (
      select answer from server_key_answer where server_name = any(${serverNames}::text[])
      order by answer for update skip locked)
  `.execute(db)
}

/** What it says of its keys counts from now on. Answers that are of no more use go. */
export async function keepKeyAnswer(db: Db, answer: KeyAnswer): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const { serverName, fetchedTs, validUntil, body } = answer
    const { rows } = await sql<{ answer: number }>`
      insert into server_key_answer (server_name, fetched_ts, valid_until_ts, used_ts, body)
      values (${serverName}, ${fetchedTs}, ${validUntil}, ${fetchedTs}, ${body}) returning answer
    `.execute(trx)
    await keepKeys(trx, answer, rows[0]!.answer)
    await sql`
      delete from server_key_answer a where server_name = ${serverName} and (
        not exists (select from server_key k where k.answer = a.answer)
        or answer not in (
          select answer from server_key_answer where server_name = ${serverName}
          order by fetched_ts desc, answer desc limit ${MAX_ANSWERS}))
    `.execute(trx)
  })
}

/** In the order of their ids, so that two processes that keep the same answer wait and do not lock each other out. */
async function keepKeys(trx: Db, { serverName, keys }: KeyAnswer, answer: number): Promise<void> {
  await sql`
    insert into server_key (server_name, key_id, public_key, valid_until_ts, is_old, answer)
    select ${serverName}, key_id, public_key, valid_until_ts, is_old, ${answer}
    from unnest(${keys.map(({ keyId }) => keyId)}::text[], ${keys.map(({ key }) => Buffer.from(key))}::bytea[],
      ${keys.map(({ validUntil }) => validUntil)}::bigint[], ${keys.map(({ isOld }) => isOld)}::boolean[])
      as x (key_id, public_key, valid_until_ts, is_old)
    order by key_id
    on conflict (server_name, key_id) do update set public_key = excluded.public_key,
      valid_until_ts = excluded.valid_until_ts, is_old = excluded.is_old, answer = excluded.answer
  `.execute(trx)
}
