import type { Endpoint } from '../http/endpoint.js'
import { changePassword } from './account-management/change-password.js'
import { checkUsernameAvailability } from './account-management/check-username-availability.js'
import { register } from './account-management/register.js'
import { registrationTokenValidity } from './account-management/registration-token-validity.js'
import { getCapabilities } from './capabilities/get-capabilities.js'
import { deleteDevice, deleteDevices, getDevice, getDevices, updateDevice } from './device-management/devices.js'
import { home } from './pages/home.js'
import { getSetup, postSetup } from './pages/setup.js'
import { getVersions } from './server-administration/get-versions.js'
import { getWellknown } from './server-administration/get-wellknown.js'
import { health } from './server-administration/health.js'
import type { Services } from './services.js'
import { getTokenOwner } from './session-management/get-token-owner.js'
import { getLoginFlows, login } from './session-management/login.js'
import { logout, logoutAll } from './session-management/logout.js'
import { getRegistrationNonce, registerBySharedSecret } from './synapse-admin/register.js'

/** All endpoints that clients, browsers and tools call. */
export const routes: readonly Endpoint<Services>[] = [
  // Pages
  home,
  getSetup,
  postSetup,
  // Server administration
  getVersions,
  getWellknown,
  health,
  // Session management
  getLoginFlows,
  login,
  logout,
  logoutAll,
  getTokenOwner,
  // Account management
  register,
  checkUsernameAvailability,
  registrationTokenValidity,
  changePassword,
  // Capabilities
  getCapabilities,
  // Device management
  getDevices,
  getDevice,
  updateDevice,
  deleteDevice,
  deleteDevices,
  // The admin API of Synapse
  getRegistrationNonce,
  registerBySharedSecret,
]
