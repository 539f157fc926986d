/** How an advisory's test is named, and the process that the tests of a file share. */
import test, { after, before } from "node:test";
import { type GatewayProcess, type ProcessOptions, startGatewayProcess } from "../support/gateway-process.ts";
import { connectWire, type Wire } from "../support/wire-client.ts";
import { rows } from "./rows.ts";

/** One black-box test for one row of the table: driven over sockets, HTTP and files against a real process. */
export function advisory(row: number, sentence: string, body: () => Promise<void>): void {
  const found = rows.find((candidate) => candidate.row === row);
  if (found === undefined) throw new Error(`there is no advisory ${row}`);
  test(`${found.rules} #${row} ${found.id.replace(/ (CVE|GHSA).*/, "")}: ${sentence}`, body);
}

/** A gateway process for all tests of a file; read `gateway` inside tests only. The loopback address is a trusted proxy's, too. */
export function shareGateway(config: object = {}, options: ProcessOptions = {}): { readonly gateway: GatewayProcess } {
  let gateway: GatewayProcess | undefined;
  before(async () => {
    gateway = await startGatewayProcess({ ...options, config: { gateway: { trustedProxies: ["127.0.0.1"] }, ...config } });
  });
  after(() => gateway?.[Symbol.asyncDispose]());
  return {
    get gateway() {
      if (gateway === undefined) throw new Error("the gateway is not started yet");
      return gateway;
    },
  };
}

/** Headers of a trusted proxy on this machine that forwards a client from elsewhere. */
export const fromRemote = { "x-forwarded-for": "203.0.113.7" };

/** A socket of whoever holds the shared secret on the gateway's own machine. */
export function ownerWith(gateway: GatewayProcess, ...scopes: readonly string[]): Promise<Wire> {
  return connectWire(gateway.url, { token: gateway.token, scopes });
}

export function httpUrl(gateway: GatewayProcess, path: string): string {
  return `${gateway.url.replace(/^ws/, "http")}${path}`;
}

/** Sends a message with `agent` and answers its last response: the run has ended. */
export async function runToEnd(wire: Wire, message: string, params: { readonly key: string; readonly sessionKey?: string }) {
  const { key, ...rest } = params;
  wire.send({ type: "req", id: key, method: "agent", params: { message, idempotencyKey: key, ...rest } });
  return wire.frame((frame) => frame.id === key && frame.payload?.["status"] !== "accepted");
}
