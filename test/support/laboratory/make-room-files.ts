/**
 * Writes the room files anew: `node --import ./test/support/register-typescript.js test/support/laboratory/make-room-files.ts`.
 * Each is checked against what its example says must come out, first.
 */
import { exampleRooms, type ExampleRoom } from './example-rooms.js'
import { keyOf } from './judged-room.js'
import { roomFileOf, writeRoomFile } from './room-file.js'

for (const [name, example] of Object.entries(exampleRooms)) {
  for (const version of example.versions) writeRoomFile(`${name}-v${version}`, fileOf(example, version))
}

function fileOf(example: ExampleRoom, version: string): ReturnType<typeof roomFileOf> {
  const { room, state, rejected = [], redacted = [] } = example.build(version)
  const { judged } = room
  const outcome = judged.stateAfter(judged.extremities().map(({ eventId }) => eventId))
  for (const [type, stateKey, event] of state) {
    const found = outcome.get(keyOf(type, stateKey))
    if (found !== event?.eventId) {
      throw new Error(`${example.description} (v${version}): ${type} '${stateKey}' is ${found}, not ${event?.eventId}`)
    }
  }
  const refused = judged.all.filter(({ verdict }) => !verdict.allowed)
  if (refused.length !== rejected.length || refused.some((event) => !rejected.includes(event))) {
    throw new Error(
      `${example.description} (v${version}): rejects ${JSON.stringify(refused.map(({ verdict }) => verdict))}`,
    )
  }
  return roomFileOf(
    example.description,
    room,
    redacted.map(({ eventId }) => eventId),
  )
}
