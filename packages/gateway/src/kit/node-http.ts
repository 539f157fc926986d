/**
 * `node:http`, without what its import brings: an import of a module of Node's reads every export, and three of this one's load
 * fetch, WebSocket and HTTP/2, a seventh of an idle gateway's memory.
 */
export const { createServer, request, STATUS_CODES } = process.getBuiltinModule("node:http");

/** The same over TLS, which is loaded when it is first asked for. */
export function requestSecurely(...args: Parameters<typeof request>): ReturnType<typeof request> {
  return process.getBuiltinModule("node:https").request(...args);
}
