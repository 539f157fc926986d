/** `devices`: who is paired, who waits, and the owner's decisions. Works even for an owner whose own device waits. */
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { approve, reject, type ApproveFlags } from "../devices/decide.ts";
import { readDevices } from "../devices/manage.ts";
import { showDevices } from "../devices/show.ts";
import { issueToken, type BearerFlags } from "../devices/token.ts";
import { remove, rename, revoke, rotate, type TokenFlags } from "../devices/upkeep.ts";
import { watchDevices } from "../devices/watch.ts";
import { usageError } from "../exit.ts";
import { writeJson, writeLine, type Io } from "../output.ts";
import { addInvite } from "./invite.ts";

const about = "who is paired, who waits for an approval, and the decisions about them";
const ids = "\nAn ID may be shortened to its beginning, as `./portreeve devices` shows it.";

export function addDevices(program: Command, io: Io): void {
  const devices = program.command("devices").description(about).addHelpText("after", ids);
  addList(devices, io);
  addDecisions(devices, io);
  addUpkeep(devices, io);
  addInvite(devices, io);
  addToken(devices, io);
  const watch = connecting(devices.command("watch").description("tell every change of pairing as it happens, until Ctrl-C"));
  withExamples(watch, "./portreeve devices watch", "./portreeve devices watch --json");
  watch.action(async (flags: ConnectingFlags) => watchDevices(io, await findAccess(io, flags), { asJson: flags.json === true }));
}

function addList(devices: Command, io: Io): void {
  const list = devices.command("list", { isDefault: true }).description("who waits for an approval, then who is paired (the default)");
  connecting(list).allowExcessArguments();
  withExamples(list, "./portreeve devices", "./portreeve devices list --json");
  list.action(async (flags: ConnectingFlags) => {
    // A word that is no command of the group arrives here, as an argument of the group's default.
    const [unknown] = list.args;
    if (unknown !== undefined) throw usageError(`unknown command '${unknown}' of devices`, "See `./portreeve devices --help`.");
    await runList(io, flags);
  });
}

async function runList(io: Io, flags: ConnectingFlags): Promise<void> {
  const access = await findAccess(io, flags);
  const list = await readDevices(access);
  if (flags.json === true) return writeJson(io, list);
  writeLine(io, showDevices(list, { nowMs: Date.now(), deviceId: await access.deviceId() }));
}

function addDecisions(devices: Command, io: Io): void {
  const yes = connecting(devices.command("approve <request>").description("let a waiting device in: shows what is new, and asks"));
  yes
    .option("--minutes <count>", "for so many minutes only, then back to what it was", wholeNumber(1, 10_080))
    .option("--yes", "do not ask; needed where there is no terminal to ask on");
  withExamples(
    yes,
    "./portreeve devices approve 4f9d1c2a",
    "./portreeve devices approve 4f9d1c2a --minutes 30",
    "./portreeve devices approve 4f9d1c2a --yes --json",
  );
  yes.action(async (id: string, flags: ApproveFlags) => approve(io, await findAccess(io, flags), { id, flags }));

  const no = connecting(devices.command("reject <request>").description("turn a waiting device away"));
  withExamples(no, "./portreeve devices reject 4f9d1c2a");
  no.action(async (id: string, flags: ConnectingFlags) => reject(io, await findAccess(io, flags), { id, flags }));
}

function addUpkeep(devices: Command, io: Io): void {
  const removal = connecting(devices.command("remove <device>").description("unpair a device for good, and close its connections"));
  withExamples(removal, "./portreeve devices remove 8d20b1f4");
  removal.action(async (id: string, flags: ConnectingFlags) => remove(io, await findAccess(io, flags), { id, flags }));

  const naming = connecting(devices.command("rename <device> <label>").description("give a device a name of your own"));
  withExamples(naming, './portreeve devices rename 8d20b1f4 "Kitchen tablet"');
  naming.action(async (id: string, label: string, flags: ConnectingFlags) => rename(io, await findAccess(io, flags), { id, label, flags }));

  const rotation = connecting(devices.command("rotate <device>").description("end a device's token and make the next one"));
  rotation
    .option("--role <role>", "of this role (default: the only one that the device has)")
    .option("--scopes <list>", "narrow the next token to these scopes, separated by commas");
  withExamples(rotation, "./portreeve devices rotate 8d20b1f4", "./portreeve devices rotate 8d20b1f4 --scopes operator.read");
  rotation.action(async (id: string, flags: TokenFlags) => rotate(io, await findAccess(io, flags), { id, flags }));

  const revocation = connecting(
    devices.command("revoke <device>").description("take back what a device may do and close its connections; it stays in the list"),
  );
  revocation.option("--role <role>", "of this role (default: the only one that the device has)");
  withExamples(revocation, "./portreeve devices revoke 8d20b1f4");
  revocation.action(async (id: string, flags: TokenFlags) => revoke(io, await findAccess(io, flags), { id, flags }));
}

function addToken(devices: Command, io: Io): void {
  const issuing = connecting(
    devices.command("token <name>").description("make a bearer for programs that speak HTTP: a device with a token and no key"),
  );
  issuing
    .option("--scopes <list>", "what it may do, separated by commas (default: operator.read)")
    .option("--minutes <count>", "for so many minutes only", wholeNumber(1, 10_080));
  withExamples(issuing, "./portreeve devices token ci", "./portreeve devices token ci --scopes operator.write --minutes 60 --json");
  issuing.action(async (name: string, flags: BearerFlags) => issueToken(io, await findAccess(io, flags), { name, flags }));
}
