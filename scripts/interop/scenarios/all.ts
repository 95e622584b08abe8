import type { Scenario } from '../scenario.js'
import { byChance, type Seeds } from './chance.js'
import { directory } from './directory.js'
import { ephemerals } from './ephemeral.js'
import { membership } from './membership.js'
import { messages } from './messages.js'
import { partialJoins } from './partial-joins.js'
import { partitions } from './partitions.js'
import { presences } from './presence.js'
import { thirdPartyInvites } from './third-party-invites.js'
import { versions } from './versions.js'

/** From the plain to the contrived. */
export const scenariosFrom = (seeds: Seeds): readonly Scenario[] => [
  ...membership,
  ...thirdPartyInvites,
  ...partialJoins,
  ...messages,
  ...directory,
  ...ephemerals,
  ...presences,
  ...versions,
  ...partitions,
  ...byChance(seeds),
]
