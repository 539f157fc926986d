/** `pair CODE`: this home's device key presents a setup code, and keeps the token that comes back. Nothing else is sent. */
import { addressOf, ConnectionError, GatewayClient, openPinStore, type DeviceKey, type GatewayPins } from "@portreeve/client";
import { findHome } from "@portreeve/gateway/home";
import { parseSetupCode } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { openDevice, openPins, openTokens, tlsFingerprintOption, withExamples } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { isLoopback } from "../loopback.ts";
import { writeJson, writeLine, type Io } from "../output.ts";
import { pinFileIn } from "../target.ts";

interface PairFlags {
  readonly yes?: boolean;
  readonly json?: boolean;
  readonly tlsFingerprint?: string;
}

export function addPair(program: Command, io: Io): void {
  const pair = program.command("pair <code>").description("pair this machine with the gateway whose setup code this is");
  pair
    .option("--yes", "connect to the code's address without asking")
    .option("--json", "print JSON; errors too, on standard error")
    .option(...tlsFingerprintOption);
  withExamples(pair, "./portreeve pair eyJ1cmwiOi…", "./portreeve pair eyJ1cmwiOi… --yes --json");
  pair.action((code: string, flags: PairFlags) => runPair(io, code, flags));
}

async function runPair(io: Io, text: string, flags: PairFlags): Promise<void> {
  const code = parseSetupCode(text);
  if (code === undefined)
    throw new CliError("usage", "This is no setup code; expected the text that `./portreeve devices invite` printed, whole.", {
      code: "SETUP_CODE_UNREADABLE",
      remedy: "On the gateway's machine make a new one: ./portreeve devices invite",
    });
  // What is really connected to: without a user name that looks like a host.
  const address = addressOf(code.url);
  await assertWanted(io, address, flags);

  const home = findHome(io.env);
  const device = await openDevice(home);
  const { tlsFingerprint } = flags;
  const keepPin = async (): Promise<void> => {
    if (tlsFingerprint !== undefined) await openPinStore(pinFileIn(home)).save(code.url, tlsFingerprint);
  };
  const { gatewayKey, deviceToken } = await present(code, { device, pins: openPins(home), tlsFingerprint, keepPin });
  await openTokens(home).save({ gatewayKey, url: code.url }, deviceToken);
  if (flags.json === true) writeJson(io, { url: code.url, deviceId: device.id, gatewayKey });
  else writeLine(io, `Paired with ${address} as device ${device.id.slice(0, 8)}.\nUse it: ./portreeve status --url ${address}`);
}

/** The address comes from outside: nothing connects to it without a person's yes. */
async function assertWanted(io: Io, address: string, { yes }: PairFlags): Promise<void> {
  const isOpen = address.startsWith("ws:") && !isLoopback(address);
  const warning = isOpen ? "The connection is not encrypted: whoever is on the way can read and change it. " : "";
  if (yes === true) return warning === "" ? undefined : io.err(`${warning}\n`);
  if (io.ask === undefined)
    throw new CliError("usage", `The code says to connect to ${address}, which needs a yes. ${warning}`.trim(), {
      code: "CONFIRMATION_NEEDED",
      remedy: "If that is your gateway's address: ./portreeve pair CODE --yes",
    });
  const answer = await io.ask(`${warning}Connect to ${address} and pair this device there? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError("failed", `Not connected to ${address}.`, { code: "DECLINED" });
}

interface Meeting {
  readonly device: DeviceKey;
  readonly pins: GatewayPins;
  readonly tlsFingerprint: string | undefined;
  /** Once the certificate is the named one. */
  readonly keepPin: () => Promise<void>;
}

async function present(
  { url, bootstrapToken }: { readonly url: string; readonly bootstrapToken: string },
  { device, pins, tlsFingerprint, keepPin }: Meeting,
): Promise<{ readonly gatewayKey: string; readonly deviceToken: string }> {
  using client = await GatewayClient.open({
    url,
    tlsFingerprint,
    client: { id: "cli", mode: "cli", version: manifest.version, platform: process.platform },
    device,
    reconnect: false,
    pins,
    present: async ({ gatewayKey }) => {
      await keepPin();
      // The code works once: without a key to keep the token under, it would be lost.
      if (gatewayKey === undefined) throw unproved(url);
      // No scopes: what the device is granted stands in the code's record, not in what it asks for.
      return { scopes: [], credential: { kind: "setup-code", value: bootstrapToken } };
    },
  });
  const { gatewayKey, hello } = client;
  if (gatewayKey === undefined || hello.deviceToken === undefined)
    throw new CliError("failed", `${addressOf(url)} used the code up and gave this device no token.`, {
      code: "NO_DEVICE_TOKEN",
      remedy: "See `./portreeve devices list` on the gateway's machine, and make a new code there: ./portreeve devices invite",
    });
  return { gatewayKey, deviceToken: hello.deviceToken };
}

function unproved(url: string): ConnectionError {
  const message = `What answers at ${addressOf(url)} does not prove a key of its own, so the code was not sent. Pair with its own program.`;
  return new ConnectionError("unproved", message, { phase: "connecting", url });
}
