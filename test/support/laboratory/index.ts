/** The room laboratory: rooms, peers and files of rooms for tests. */
export { areEqual, JudgedRoom, keyOf, type LabEvent, type LabState } from './judged-room.js'
export { Branch, labRoom, type LabDraft, type LabRoomOptions } from './lab-room.js'
export { alice, bob, carol, dave, erin, labServer, serverOf, type LabServer } from './servers.js'
