import { expect, it } from '@jest/globals'
import { stage } from '../../src/store/staged-pdus.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()

it('stages once what a transaction holds twice, and nothing that is staged already', async () => {
  const pdu = (eventId: string) => ({ roomId: '!room:one.example', eventId, text: '{}' })
  const ids = async (...eventIds: string[]) =>
    (await stage(db, 'one.example', eventIds.map(pdu), 1)).map(({ eventId }) => eventId)
  expect(await ids('$a', '$b', '$a')).toEqual(['$a', '$b'])
  expect(await ids('$b', '$c', '$c')).toEqual(['$c'])
})
