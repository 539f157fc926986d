/** `gateways`: the gateways this machine has met, each by the key it proved then. */
import { addressOf, fingerprintOf, openGatewayPins, type GatewayPinStore } from "@portreeve/client";
import { findHome } from "@portreeve/gateway/home";
import type { Command } from "commander";
import { pinFileOf, withExamples } from "../connecting.ts";
import { CliError, usageError } from "../exit.ts";
import { toTable, writeJson, writeLine, type Io } from "../output.ts";

interface JsonFlag {
  readonly json?: boolean;
}

const jsonFlag = ["--json", "print JSON; errors too, on standard error"] as const;

export function addGateways(program: Command, io: Io): void {
  const gateways = program.command("gateways").description("the gateways this machine has met, and the key each one is held to");

  const list = gateways.command("list").description("addresses, and the fingerprint of the key that was met there");
  list.option(...jsonFlag);
  withExamples(list, "./portreeve gateways list").action((flags: JsonFlag) => runList(io, flags));

  const forget = gateways
    .command("forget <url>")
    .description("forget the key of the gateway at an address, so that the next connection accepts the one it meets");
  forget.option(...jsonFlag);
  withExamples(forget, "./portreeve gateways forget wss://gateway.example").action((url: string, flags: JsonFlag) =>
    runForget(io, url, flags),
  );
}

async function runList(io: Io, { json }: JsonFlag): Promise<void> {
  const known = (await openPins(io).list()).map(({ url, gatewayKey }) => ({ url, gatewayKey, fingerprint: fingerprintOf(gatewayKey) }));
  if (json === true) return writeJson(io, { gateways: known });
  if (known.length === 0) return writeLine(io, "No gateway has been met yet. The first connection keeps the key it proves.");
  const rows = known.map(({ url, fingerprint }) => [url, fingerprint]);
  writeLine(io, toTable(["GATEWAY", "KEY"], rows));
}

async function runForget(io: Io, text: string, { json }: JsonFlag): Promise<void> {
  if (!URL.canParse(text)) throw usageError(`${text} is no address; expected one such as wss://gateway.example.`);
  const url = addressOf(text);
  const gatewayKey = await openPins(io).forget(url);
  if (gatewayKey === undefined)
    throw new CliError("failed", `No key is kept for ${url}.`, {
      code: "UNKNOWN_GATEWAY",
      remedy: "See the addresses: ./portreeve gateways list",
    });
  if (json === true) return writeJson(io, { url, gatewayKey });
  writeLine(io, `Forgotten: ${url} had the key ${fingerprintOf(gatewayKey)}. The next connection keeps the one it meets.`);
}

function openPins(io: Io): GatewayPinStore {
  return openGatewayPins(pinFileOf(findHome(io.env)));
}
