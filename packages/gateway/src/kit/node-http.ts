/**
 * `node:http`, without what its import brings: an import of a module of Node's reads every export, and three of this one's load
 * fetch, WebSocket and HTTP/2, a seventh of an idle gateway's memory.
 */
export const { createServer, STATUS_CODES } = process.getBuiltinModule("node:http");
