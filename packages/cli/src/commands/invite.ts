/** `devices invite`: a setup code for one device, and what it grants. */
import { normaliseScopes, type ParamsInput, type Result } from "@portreeve/protocol/wire";
import { InvalidArgumentError, Option, type Command } from "commander";
import { connecting, findAccess, withExamples, wholeNumber, type ConnectingFlags } from "../connecting.ts";
import { isLoopback } from "../loopback.ts";
import { oneLine, toMinute, writeJson, writeLine, type Io } from "../output.ts";
import { parseScopes } from "./call.ts";

interface InviteFlags extends ConnectingFlags {
  readonly role?: "operator" | "node";
  readonly scopes?: string;
  readonly minutes?: number;
  readonly publicUrl?: string;
  readonly qr?: boolean;
}

export function addInvite(devices: Command, io: Io): void {
  const invite = connecting(devices.command("invite").description("make a setup code that pairs one device, once, for what it says"));
  invite
    .addOption(new Option("--role <role>", "what the device becomes (default: operator)").choices(["operator", "node"]))
    .option(
      "--scopes <list>",
      "what the device may do, separated by commas (default: operator.write and what an operator's client needs, never operator.admin or operator.pairing)",
    )
    .option("--minutes <n>", "how long the code waits, at most 10 (default: 10)", wholeNumber(1, 10))
    .option("--public-url <url>", "under which address the device reaches the gateway (default: the configured one)", socketUrl)
    .option("--qr", "draw the code as a QR code also when nobody watches");
  withExamples(invite, "./portreeve devices invite", "./portreeve devices invite --scopes operator.read --minutes 2");
  invite.action((flags: InviteFlags) => runInvite(io, flags));
}

async function runInvite(io: Io, flags: InviteFlags): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await access.openAsOwner(["operator.admin"]);
  const issued = await client.call("device.pair.setupCode", toParams(flags));
  if (flags.json === true) return writeJson(io, issued);
  if (io.isTerminal || flags.qr === true) {
    const { toQrText } = await import("@portreeve/gateway/qr");
    writeLine(io, toQrText(issued.setupCode));
  }
  writeLine(io, showInvitation(issued));
}

function toParams({ role, scopes, minutes, publicUrl }: InviteFlags): ParamsInput<"device.pair.setupCode"> {
  const listed = parseScopes(scopes);
  return {
    ...(role === undefined ? {} : { role }),
    // The gateway checks the names, and says which ones there are.
    ...(listed === undefined ? {} : { scopes: [...normaliseScopes(listed)] as ParamsInput<"device.pair.setupCode">["scopes"] }),
    ...(minutes === undefined ? {} : { minutes }),
    ...(publicUrl === undefined ? {} : { publicUrl }),
  };
}

/** What the one who invites needs to know: the code, for where, for what, until when. Pure. */
export function showInvitation({ setupCode, gatewayUrl, urlSource, role, scopes, expiresAtMs }: Result<"device.pair.setupCode">): string {
  const what = role === "node" ? "a node" : `an operator's device with ${scopes.join(", ") || "no scopes"}`;
  return [
    `Code     ${oneLine(setupCode, 4_096)}`,
    `For      ${oneLine(gatewayUrl, 512)} (${urlSource})`,
    `Grants   ${what}`,
    `Ends     ${toMinute(expiresAtMs)}, or with its first use`,
    "",
    "On the other machine: ./portreeve pair CODE (or scan it). Whoever has the code first is let in: show it to nobody else.",
    ...(isLoopback(gatewayUrl)
      ? ["This address is this machine's alone. For another one: gateway.publicUrl in the configuration, or --public-url URL."]
      : []),
  ].join("\n");
}

function socketUrl(text: string): string {
  if (URL.canParse(text) && /^(wss?|https?):$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError("Expected an address such as wss://gateway.example.");
}
