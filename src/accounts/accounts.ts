import type { Kysely, Transaction } from 'kysely'
import { isNewLocalpart, localpartOf, MAX_ID_BYTES, serverNameOf } from '../protocol/identifiers.js'
import type { DeviceNumber } from '../protocol/numbers.js'
import { forbidden, invalidUsername, notFound, userDeactivated, userInUse } from '../protocol/matrix-error.js'
import { account, insertAccount, setPasswordHash, type Account } from '../store/accounts.js'
import {
  deleteDevices,
  devicesOf,
  putDevice,
  renameDevice,
  type Device,
  type DevicesToDelete,
} from '../store/devices.js'
import { forgetKeyCounts } from '../store/device-keys.js'
import { noteDeviceListChange } from '../store/device-lists.js'
import { setProfileField } from '../store/profiles.js'
import { useRegistrationToken } from '../store/registration-tokens.js'
import { deleteSetupTokens, takeSetupToken } from '../store/setup-tokens.js'
import type { Tables } from '../store/tables.js'
import { addressKey } from './address-key.js'
import type { AccessTokens } from './access-tokens.js'
import type { PasswordGuesses } from './password-guesses.js'
import type { Passwords } from './passwords.js'
import type { Requester } from './requester.js'
import { newAccessToken, newDeviceId, newLocalpart, sha256 } from './secrets.js'

export interface AccountsOptions {
  readonly db: Kysely<Tables>
  readonly serverName: string
  readonly passwords: Passwords
  readonly guesses: PasswordGuesses
  readonly accessTokens: AccessTokens
  /**
   * Told after the commit and before the answer that devices of a user went or were renamed: the change is noted
   * (src/store/device-lists.ts) and the log has yet to get it.
   */
  readonly onDevicesChanged?: (userId: string) => Promise<void>
  readonly nowTs?: () => number
}

export interface NewLogin {
  /** Undefined: a new one is made up. */
  readonly deviceId?: string | undefined
  readonly displayName?: string | undefined
  readonly ip: string
}

export interface Login {
  readonly userId: string
  readonly accessToken: string
  readonly deviceId: string
}

export interface Registration {
  /** Undefined: one is made up. */
  readonly localpart: string | undefined
  /** Undefined: no password opens the account. */
  readonly password: string | undefined
  readonly displayName?: string | undefined
  readonly isAdmin?: boolean
  /** A use of it is counted. */
  readonly registrationToken?: string | undefined
  /** Is used up. */
  readonly setupToken?: string | undefined
  /** Logs in, too. */
  readonly login?: NewLogin | undefined
}

/** The local users: making accounts, passwords, logging in and out. */
export class Accounts {
  readonly #db: Kysely<Tables>
  readonly #nowTs: () => number

  constructor(private readonly options: AccountsOptions) {
    this.#db = options.db
    this.#nowTs = options.nowTs ?? Date.now
  }

  /** Of a localpart or a whole user id; undefined for one of another server. Capitals are taken as small letters. */
  userIdOf(nameOrId: string): string | undefined {
    const { serverName } = this.options
    if (!nameOrId.startsWith('@')) return `@${lowerCase(nameOrId)}:${serverName}`
    return serverNameOf(nameOrId) === serverName ? `@${lowerCase(localpartOf(nameOrId))}:${serverName}` : undefined
  }

  find(userId: string): Promise<Account | undefined> {
    return account(this.#db, userId)
  }

  /** The user id the name would get. Throws M_INVALID_USERNAME, M_USER_IN_USE. */
  async checkAvailable(localpart: string): Promise<string> {
    const userId = this.#newUserId(localpart)
    if ((await this.find(userId)) !== undefined) throw userInUse()
    return userId
  }

  /** Throws M_INVALID_USERNAME, M_USER_IN_USE, and M_FORBIDDEN when a token has been used up meanwhile. */
  async register(registration: Registration): Promise<{ userId: string; login: Login | undefined }> {
    const { localpart, password } = registration
    const userId = localpart === undefined ? this.#newUserId(newLocalpart()) : await this.checkAvailable(localpart)
    const passwordHash = password === undefined ? undefined : await this.options.passwords.hash(password)
    const login = await this.#db.transaction().execute((trx) => this.#insert(trx, userId, passwordHash, registration))
    return { userId, login }
  }

  async #insert(
    trx: Transaction<Tables>,
    userId: string,
    passwordHash: string | undefined,
    { displayName, isAdmin = false, registrationToken, setupToken, login }: Registration,
  ): Promise<Login | undefined> {
    if (setupToken !== undefined && !(await takeSetupToken(trx, sha256(setupToken)))) {
      throw forbidden('This link has been used')
    }
    if ((await insertAccount(trx, { userId, passwordHash, isAdmin }, this.#nowTs())) === 'exists') throw userInUse()
    if (registrationToken !== undefined && !(await useRegistrationToken(trx, registrationToken, this.#nowTs()))) {
      throw forbidden('The registration token is not valid any more')
    }
    if (displayName !== undefined) await setProfileField(trx, userId, 'displayname', displayName)
    if (isAdmin) await deleteSetupTokens(trx)
    return login && (await this.#putDevice(trx, userId, login)).login
  }

  /** Throws M_FORBIDDEN, M_USER_DEACTIVATED, M_LIMIT_EXCEEDED. Users of other servers have no password here. */
  async checkPassword(userId: string | undefined, password: string, ip: string): Promise<string> {
    const found = userId === undefined ? undefined : await this.find(userId)
    const { passwords, guesses } = this.options
    const right = await guesses.attempt(userId ?? '', addressKey(ip), () =>
      passwords.matches(password, found?.passwordHash),
    )
    if (!right || found === undefined) throw forbidden('The user name or the password is wrong')
    if (found.isDeactivated) throw userDeactivated()
    return found.userId
  }

  /** For a user who has shown who they are. */
  async logIn(userId: string, newLogin: NewLogin): Promise<Login> {
    const { login, device } = await this.#db.transaction().execute((trx) => this.#putDevice(trx, userId, newLogin))
    // An existing device has another token now. Others hear of a device when it uploads keys.
    this.options.accessTokens.forget([device])
    return login
  }

  async #putDevice(
    trx: Transaction<Tables>,
    userId: string,
    { deviceId = newDeviceId(), displayName, ip }: NewLogin,
  ): Promise<{ login: Login; device: DeviceNumber }> {
    const accessToken = newAccessToken()
    const device = { userId, deviceId, displayName, tokenHash: sha256(accessToken), ip }
    return { login: { userId, accessToken, deviceId }, device: await putDevice(trx, device, this.#nowTs()) }
  }

  logOut(requester: Requester): Promise<void> {
    return this.deleteDevices(requester.userId, { deviceIds: [requester.deviceId] })
  }

  devices(userId: string): Promise<Device[]> {
    return devicesOf(this.#db, userId)
  }

  /** Throws M_NOT_FOUND. */
  async device(userId: string, deviceId: string): Promise<Device> {
    const device = (await this.devices(userId)).find((one) => one.deviceId === deviceId)
    if (device === undefined) throw notFound('You have no such device')
    return device
  }

  /** Throws M_NOT_FOUND. */
  async renameDevice(userId: string, deviceId: string, displayName: string): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      if (!(await renameDevice(trx, userId, deviceId, displayName))) throw notFound('You have no such device')
      await noteDeviceListChange(trx, userId, this.#nowTs())
    })
    await this.options.onDevicesChanged?.(userId)
  }

  /** Their access tokens end with them. Devices the user does not have are passed over. */
  async deleteDevices(userId: string, which: DevicesToDelete = {}): Promise<void> {
    const devices = await this.#db.transaction().execute((trx) => this.#delete(trx, userId, which))
    await this.#devicesWent(userId, devices)
  }

  async #delete(trx: Transaction<Tables>, userId: string, which: DevicesToDelete): Promise<DeviceNumber[]> {
    const devices = await deleteDevices(trx, userId, which)
    if (devices.length > 0) await noteDeviceListChange(trx, userId, this.#nowTs())
    return devices
  }

  /** `logOutExcept`: undefined leaves all devices logged in. */
  async changePassword(userId: string, password: string, logOutExcept: DeviceNumber | undefined): Promise<void> {
    const passwordHash = await this.options.passwords.hash(password)
    const devices = await this.#db.transaction().execute(async (trx) => {
      await setPasswordHash(trx, userId, passwordHash)
      return logOutExcept === undefined ? [] : this.#delete(trx, userId, { except: logOutExcept })
    })
    await this.#devicesWent(userId, devices)
  }

  async #devicesWent(userId: string, devices: readonly DeviceNumber[]): Promise<void> {
    if (devices.length === 0) return
    this.options.accessTokens.forget(devices)
    forgetKeyCounts(this.#db, devices)
    await this.options.onDevicesChanged?.(userId)
  }

  #newUserId(localpart: string): string {
    const userId = `@${lowerCase(localpart)}:${this.options.serverName}`
    if (!isNewLocalpart(lowerCase(localpart))) {
      throw invalidUsername('A user name may have the letters a-z, digits, and the characters . _ = / + -')
    }
    if (Buffer.byteLength(userId) > MAX_ID_BYTES) throw invalidUsername('The user name is too long')
    return userId
  }
}

/** ASCII only: of other alphabets nothing may become a letter that is allowed. */
const lowerCase = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
