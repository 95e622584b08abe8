import { expect, it } from '@jest/globals'
import { duePdus, postpone, stage } from '../../src/store/staged-pdus.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()

it('stages once what a transaction holds twice, and nothing that is staged already', async () => {
  const pdu = (eventId: string) => ({ roomId: '!room:one.example', eventId, text: '{}' })
  const ids = async (...eventIds: string[]) =>
    (await stage(db, 'one.example', eventIds.map(pdu), 1)).map(({ eventId }) => eventId)
  expect(await ids('$a', '$b', '$a')).toEqual(['$a', '$b'])
  expect(await ids('$b', '$c', '$c')).toEqual(['$c'])
})

it('gives what was put off, and is due again, after what is new', async () => {
  const roomId = '!other:one.example'
  const stageAll = (eventIds: readonly string[]) =>
    stage(
      db,
      'one.example',
      eventIds.map((eventId) => ({ roomId, eventId, text: '{}' })),
      1,
    )
  const [first, second] = await stageAll(['$a', '$b', '$c'])
  await postpone(db, [
    { staged: first!.staged, reason: 'later', nextAttemptTs: 20 },
    { staged: second!.staged, reason: 'later', nextAttemptTs: 10 },
  ])
  await stageAll(['$d'])
  const due = await duePdus(db, roomId, 30, { except: [], limit: 10 })
  expect(due.map(({ eventId }) => eventId)).toEqual(['$c', '$d', '$b', '$a'])
})
