/** What every command that talks to a gateway shares: its flags, and a connection from them. */
import { join } from "node:path";
import { openDeviceKey, openPinStore, openTokenStore } from "@portreeve/client";
import { findHome, makePrivateFolder } from "@portreeve/gateway/home";
import { InvalidArgumentError, type Command } from "commander";
import manifest from "../package.json" with { type: "json" };
import { Access } from "./access.ts";
import type { Io } from "./output.ts";
import { findTarget, pinFileIn, readHome, type TargetFlags } from "./target.ts";

export interface ConnectingFlags extends TargetFlags {
  readonly json?: boolean;
}

/** Adds --json, --url, --token and --tls-fingerprint. */
export function connecting(command: Command): Command {
  return command
    .option("--json", "print JSON; errors too, on standard error")
    .option("--url <url>", "the gateway's address, ws:// or wss://")
    .option("--token <secret>", "the gateway's shared secret")
    .option("--tls-fingerprint <sha256>", "the only certificate to accept, as the gateway prints it at its start; kept for its address");
}

/** The way to the gateway that flags, environment and home name. Connects to nothing yet. */
export async function findAccess(io: Io, flags: TargetFlags): Promise<Access> {
  const home = findHome(io.env);
  const target = await findTarget(flags, io.env, readHome(home));
  const pin = flags.tlsFingerprint;
  return new Access({
    target,
    ...(pin === undefined ? {} : { keepPin: () => openPinStore(pinFileIn(home)).save(target.url, pin) }),
    device: async () => {
      await makePrivateFolder(home.cliDir);
      return openDeviceKey(join(home.cliDir, "device.pem"));
    },
    tokens: openTokenStore(join(home.cliDir, "tokens.json")),
    version: manifest.version,
  });
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
