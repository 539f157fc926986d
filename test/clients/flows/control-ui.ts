/** The Control UI of both generations in a browser. */
import { deepEqual } from "node:assert/strict";
import { type Flow, passed, type Passed, sayScript } from "../flow.ts";
import type { Generation } from "../installation.ts";
import { type ControlUi, openControlUi } from "../pages.ts";
import type { Rig } from "../rig.ts";
import { askForMore, canConnectWith } from "./devices.ts";

export function controlUiFlows(generation: Generation, version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (ui: ControlUi, rig: Rig) => Promise<void>>> = {
    "load, connect, send, reply": sendMessage,
    reload: reloadPage,
    "sessions page": ({ page, origin }) => show(page, `${origin}/sessions`, "agent:main:main"),
    "devices page: approve a request": async (ui, rig) => approve(ui, rig, generation === 4 ? "/settings/devices" : "/nodes"),
    "usage page": showUsage,
    "logs page": ({ page, origin }) => show(page, `${origin}/logs`, /gateway\.log/),
  };
  return Object.entries(flows).map(([name, act]) => ({
    client: "Control UI",
    version,
    name,
    run: async (rig): Promise<Passed> => {
      await using ui = await openControlUi(rig, generation);
      await ui.page.locator("textarea").last().waitFor();
      await act(ui, rig);
      deepEqual(ui.errors, []);
      return passed;
    },
  }));
}

async function send({ page }: ControlUi, text: string): Promise<void> {
  const composer = page.locator("textarea").last();
  await composer.fill(text);
  await composer.press("Enter");
}

async function sendMessage(ui: ControlUi): Promise<void> {
  await send(ui, sayScript("ahoy from a page"));
  await ui.page
    .getByText(/^ahoy from a page$/)
    .first()
    .waitFor();
  await ui.page.getByText("Working…").waitFor({ state: "hidden" });
}

async function reloadPage(ui: ControlUi): Promise<void> {
  await send(ui, sayScript("ahoy before the reload"));
  await ui.page
    .getByText(/^ahoy before the reload$/)
    .first()
    .waitFor();

  await ui.page.reload();

  await ui.page
    .getByText(/^ahoy before the reload$/)
    .first()
    .waitFor();
  await send(ui, sayScript("ahoy after the reload"));
  await ui.page
    .getByText(/^ahoy after the reload$/)
    .first()
    .waitFor();
}

async function show(page: ControlUi["page"], url: string, what: string | RegExp): Promise<void> {
  await page.goto(url);
  await page.getByText(what).first().waitFor();
}

async function approve({ page, origin }: ControlUi, rig: Rig, path: string): Promise<void> {
  const { key } = await askForMore(rig);
  await page.goto(`${origin}${path}`);
  const request = page.locator("div, li, article").filter({ hasText: key.id }).filter({ hasText: "Reject" }).last();

  await request.getByRole("button", { name: "Approve" }).first().click();

  await request.getByRole("button", { name: "Reject" }).waitFor({ state: "hidden" });
  await canConnectWith(rig, key, ["operator.read", "operator.write"]);
}

async function showUsage(ui: ControlUi): Promise<void> {
  await send(ui, sayScript("ahoy at a price"));
  await ui.page
    .getByText(/^ahoy at a price$/)
    .first()
    .waitFor();
  await show(ui.page, `${ui.origin}/usage`, /Top Agents|Tokens by Type/i);
}
