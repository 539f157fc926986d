/** `openclaw tui` in a terminal, as a person types. */
import { randomUUID } from "node:crypto";
import { type Flow, passed, type Passed, sayScript, withApproval } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { openOpenclawHome, type OpenclawHome } from "../openclaw-home.ts";
import type { Rig } from "../rig.ts";
import { openTerminal, type Terminal } from "../terminal.ts";
import { openBridge } from "./mcp-serve.ts";

export function tuiFlows(generation: Generation, version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (rig: Rig, home: OpenclawHome) => Promise<Passed>>> = {
    "connect, send, reply": sendMessage,
    abort: abortRun,
    history: readHistory,
    "after mcp serve, on one identity": comeAfterBridge,
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "openclaw tui",
    version,
    name,
    run: async (rig) => await act(rig, await openOpenclawHome(rig, generation)),
  }));
}

const isReady = /connected \| idle/;
const reply = /From the built-in scripted model/;

/** `--session`: one of its own, so that nothing else is said in it. */
function open(home: OpenclawHome, session: string): Promise<Terminal> {
  return openTerminal(home.command("tui", ...home.access, "--session", session), home.env, home.folder);
}

/** Waits for what was typed to stand on the screen: a line and its end in one piece would be pasted text. */
async function send(terminal: Terminal, text: string): Promise<void> {
  terminal.forget();
  terminal.type(text);
  await terminal.shows(/@script/);
  terminal.forget();
  terminal.type("\r");
}

async function sendMessage(_rig: Rig, home: OpenclawHome): Promise<Passed> {
  await using terminal = await open(home, randomUUID());
  await terminal.shows(isReady);

  await send(terminal, sayScript("ahoy from a terminal"));

  await terminal.shows(/^ *ahoy from a terminal\s*$/m);
  await terminal.shows(reply);
  return passed;
}

async function abortRun(_rig: Rig, home: OpenclawHome): Promise<Passed> {
  await using terminal = await open(home, randomUUID());
  await terminal.shows(isReady);
  await send(terminal, '@script [{"hang":true}]');
  await terminal.shows(/… • \d+s \| connected/);

  terminal.type("\u001b");

  await terminal.shows(/run aborted/);
  return passed;
}

async function readHistory(_rig: Rig, home: OpenclawHome): Promise<Passed> {
  const session = randomUUID();
  {
    await using first = await open(home, session);
    await first.shows(isReady);
    await send(first, sayScript("ahoy for later"));
    await first.shows(reply);
  }
  await using second = await open(home, session);

  await second.shows(/^ *ahoy for later\s*$/m);
  return passed;
}

/** The bridge asks for less than the terminal does. */
async function comeAfterBridge(rig: Rig, home: OpenclawHome): Promise<Passed> {
  {
    await using bridge = await openBridge(home);
    await bridge.call("conversations_list");
  }
  return await withApproval(rig, async () => {
    await using terminal = await open(home, randomUUID());
    await terminal.shows(/connected \| idle|portreeve devices approve \w+|\(requestId: \w+\)/);
    const done = isReady.test(terminal.screen);
    return { shown: terminal.screen, done };
  });
}
