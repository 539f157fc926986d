/** `connect` once more on an open connection: the handshake alone answers it, and only as the first request. */
import { ProtocolError } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";

export function connectHandlers(): Pick<Handlers, "connect"> {
  return {
    connect: () =>
      Promise.reject(
        new ProtocolError("CONNECT_ONLY_FIRST", "connect is only valid as the first request", {
          remedy: "Open a new connection to connect with other scopes.",
        }),
      ),
  };
}
