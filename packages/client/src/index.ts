/** Talking to a gateway: a device key, a connection at least privilege, calls and events. */
export { backoffDelayMs, pause, type Backoff } from "./backoff.ts";
export { leastScopes, scopesOf } from "./call.ts";
export { GatewayClient, type ClientCallOptions, type ClientOptions } from "./client.ts";
export {
  connect,
  type ClientInfo,
  type Connection,
  type ConnectionListener,
  type ConnectOptions,
  type Credential,
  type Presentation,
} from "./connect.ts";
export { connectProofText, createDeviceKey, openDeviceKey, type ConnectProof, type DeviceKey } from "./device-key.ts";
export { DamagedFileError } from "./damaged-file.ts";
export { ConnectionError, mayReconnectAfter, RemoteError, type Close, type ConnectionErrorKind } from "./errors.ts";
export { addressOf } from "./address.ts";
export { fingerprintOf, openGatewayPins, type GatewayPins, type GatewayPinStore, type PinVerdict } from "./gateway-pins.ts";
export { parseFingerprint } from "./fingerprint.ts";
export { verifyGatewayProof, type GatewayProof } from "./gateway-proof.ts";
export type { Hello } from "./hello.ts";
export {
  createConnectCall,
  lifecycleScopes,
  spawnByCalls,
  type ConnectCall,
  type ConnectCallOptions,
  type LifecycleCall,
  type SpawnByCallsInput,
  type SpawnByCallsOutcome,
} from "./lifecycle.ts";
export type { RequestOptions, SeqGap } from "./link.ts";
export { openPinStore, type PinStore } from "./pin-store.ts";
export { openTokenStore, type TokenOwner, type TokenStore } from "./token-store.ts";
