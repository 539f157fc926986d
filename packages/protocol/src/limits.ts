/** Numbers both sides of the wire agree on. Bytes and milliseconds. Where the versions differ, version 4's number. */
export const limits = {
  /** All bytes a socket may send before its hello. */
  preauthBytes: 65_536,
  maxPayloadBytes: 26_214_400,
  maxBufferedBytes: 52_428_800,
  /** How deep parameters may nest, and what a model says where JSON is wanted. */
  jsonLevels: 128,
  /** While more waits unsent, no request more of the connection is read. */
  unsentBytes: 4_194_304,
  /** Of a request's id. */
  requestIdChars: 256,
  handshakeTimeoutMs: 15_000,
  tickIntervalMs: 30_000,
  pingIntervalMs: 25_000,
  signatureSkewMs: 120_000,
  /** Sockets without a hello: of one peer (an IPv6 /64 is one), and of all. */
  unauthenticatedSocketsPerPeer: 32,
  unauthenticatedSockets: 512,
  /** Connections of one device that may be open at once. */
  socketsPerDevice: 32,
  /** Frames a client may pipeline between its `connect` and the hello. */
  pendingHandshakeFrames: 15,
  /** Consecutive wrong-role answers after which a connection is closed (the next one closes it). */
  wrongRoleAnswers: 10,
  closeReasonBytes: 120,
  pairingRequestTtlMs: 300_000,
  /** The longest a setup code may wait, and how long it does when nothing is said. */
  setupCodeTtlMs: 600_000,
  /** Requests of one connection that may be in work at once, the next ones wait unread in the socket; and as many that only wait. */
  requestsInFlight: 256,
  /** Calls of one method of the class `control-write` that one caller may make in a window; it begins with the first. */
  controlWrites: 30,
  controlWriteWindowMs: 60_000,
  /** Commands that a node may have in work at once. */
  nodeInvocations: 32,
  nodeInvokeTimeoutMs: 30_000,
  nodeInvokeMaxTimeoutMs: 600_000,
  /** JSON of a command's parameters, and of a node's answer: whoever asked gets that twice in one frame. */
  nodeParamsBytes: 1_048_576,
  nodePayloadBytes: 8_388_608,
} as const;

export const supportedProtocols = [3, 4] as const;
