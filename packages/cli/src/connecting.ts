/** What every command that talks to a gateway shares: its flags, and a connection from them. */
import { join } from "node:path";
import {
  openDeviceKey,
  openGatewayPins,
  openPinStore,
  openTokenStore,
  parseFingerprint,
  type DeviceKey,
  type GatewayPins,
  type TokenStore,
} from "@portreeve/client";
import { findHome, makePrivateFolder, type Home } from "@portreeve/gateway/home";
import { InvalidArgumentError, type Command } from "commander";
import manifest from "../package.json" with { type: "json" };
import { Access } from "./access.ts";
import type { Io } from "./output.ts";
import { expectedFingerprint, findHomeKey, findTarget, pinFileIn, readHome, type TargetFlags } from "./target.ts";

export interface ConnectingFlags extends TargetFlags {
  readonly json?: boolean;
}

export const tlsFingerprintOption = [
  "--tls-fingerprint <sha256>",
  "the only certificate to accept, as the gateway prints it at its start; kept for its address",
  fingerprint,
] as const;

function fingerprint(text: string): string {
  if (parseFingerprint(text) !== undefined) return text;
  throw new InvalidArgumentError(`Expected ${expectedFingerprint}.`);
}

/** Adds --json, --url, --token and --tls-fingerprint. */
export function connecting(command: Command): Command {
  return command
    .option("--json", "print JSON; errors too, on standard error")
    .option("--url <url>", "the gateway's address, ws:// or wss://")
    .option("--token <secret>", "the gateway's shared secret")
    .option(...tlsFingerprintOption);
}

/** The way to the gateway that flags, environment and home name. Connects to nothing yet. */
export async function findAccess(io: Io, flags: TargetFlags): Promise<Access> {
  const home = findHome(io.env);
  const target = await findTarget(flags, io.env, readHome(home));
  const pin = flags.tlsFingerprint;
  return new Access({
    target,
    ...(pin === undefined ? {} : { keepPin: () => openPinStore(pinFileIn(home)).save(target.url, pin) }),
    pins: openPins(home),
    device: () => openDevice(home),
    tokens: openTokens(home),
    tokensFile: tokensFileOf(home),
    version: manifest.version,
  });
}

/** This home's device key, made on first use. */
export async function openDevice(home: Home): Promise<DeviceKey> {
  await makePrivateFolder(home.cliDir);
  return openDeviceKey(join(home.cliDir, "device.pem"));
}

export function openTokens(home: Home): TokenStore {
  return openTokenStore(tokensFileOf(home));
}

function tokensFileOf(home: Home): string {
  return join(home.cliDir, "tokens.json");
}

/** What this home knows of gateways' keys. Its own gateway is known by the key's file, whatever was met at its address before. */
export function openPins(home: Home): GatewayPins {
  const met = openGatewayPins(pinFileOf(home));
  return {
    async admit(url, gatewayKey) {
      if (gatewayKey === undefined || gatewayKey !== (await findHomeKey(url, readHome(home)))) return met.admit(url, gatewayKey);
      await met.replace(url, gatewayKey);
      return { kind: "known" };
    },
  };
}

export function pinFileOf(home: Home): string {
  return join(home.cliDir, "gateways.json");
}

/** Adds examples after a command's help. */
export function withExamples(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`);
}

/** Parses a whole number from `min` to `max` for a flag. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  };
}
