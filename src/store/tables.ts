import type { AccountTables } from './accounts.js'
import type { DeviceKeyTables } from './device-keys.js'
import type { DestinationTables } from './destinations.js'
import type { DeviceListStreamTables } from './device-list-stream.js'
import type { DeviceListTables } from './device-lists.js'
import type { DeviceTables } from './devices.js'
import type { FederationOutboxTables } from './federation-outbox.js'
import type { InteractiveAuthTables } from './interactive-auth-sessions.js'
import type { LogTables } from './log-tables.js'
import type { OpenIdTokenTables } from './openid-tokens.js'
import type { ProfileTables } from './profiles.js'
import type { ReceivedTransactionTables } from './received-transactions.js'
import type { PartialJoinTables } from './partial-joins.js'
import type { RegistrationTokenTables } from './registration-tokens.js'
import type { ServerKeyTables } from './server-keys.js'
import type { RemoteDeviceTables } from './remote-devices.js'
import type { ServerTables } from './server.js'
import type { SetupTokenTables } from './setup-tokens.js'
import type { StagedPduTables } from './staged-pdus.js'
import type { ToDeviceTransactionTables } from './to-device.js'
import type { UntoldLeaveTables } from './untold-leaves.js'
import type { WaitingReceiptTables } from './waiting-receipts.js'

/** Every table of `schema/` as Kysely sees it; each part stands beside the module that writes it. */
export interface Tables
  extends
    ServerTables,
    ServerKeyTables,
    LogTables,
    AccountTables,
    DeviceTables,
    DeviceKeyTables,
    DeviceListTables,
    DeviceListStreamTables,
    DestinationTables,
    FederationOutboxTables,
    ToDeviceTransactionTables,
    RemoteDeviceTables,
    RegistrationTokenTables,
    InteractiveAuthTables,
    SetupTokenTables,
    ProfileTables,
    OpenIdTokenTables,
    StagedPduTables,
    PartialJoinTables,
    WaitingReceiptTables,
    UntoldLeaveTables,
    ReceivedTransactionTables {}
