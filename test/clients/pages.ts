/** The Control UI of a version in a browser: its files from an origin of their own, the gateway elsewhere. */
import { access, readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { NotHere } from "./flow.ts";
import { type Generation, installed, loadLibrary } from "./installation.ts";
import type { Rig } from "./rig.ts";

/** Of Playwright, what the flows use. */
export interface Locator {
  click(): Promise<void>;
  fill(text: string): Promise<void>;
  press(key: string): Promise<void>;
  first(): Locator;
  last(): Locator;
  filter(options: { readonly hasText: string }): Locator;
  getByRole(role: string, options: { readonly name: RegExp | string }): Locator;
  waitFor(options?: { readonly state?: "visible" | "hidden"; readonly timeout?: number }): Promise<void>;
}

export interface Page {
  goto(url: string): Promise<unknown>;
  reload(): Promise<unknown>;
  locator(selector: string): Locator;
  getByRole(role: string, options: { readonly name: RegExp | string }): Locator;
  getByText(text: string | RegExp): Locator;
  on(event: "pageerror", listener: (error: Error) => void): void;
  setDefaultTimeout(ms: number): void;
}

interface Browser {
  newPage(options: object): Promise<Page>;
  close(): Promise<void>;
}

interface Library {
  readonly chromium: { launch(options: object): Promise<Browser> };
}

const chromium = "/usr/bin/chromium";
const patienceMs = 60_000;

export interface ControlUi extends AsyncDisposable {
  readonly page: Page;
  /** Of the pages, without a path. */
  readonly origin: string;
  /** What was thrown in the page and caught by nobody. */
  readonly errors: readonly Error[];
}

/** Opens the pages as a person does who was given the address and the secret, and says yes to the other gateway. */
export async function openControlUi(rig: Rig, generation: Generation): Promise<ControlUi> {
  await access(chromium).catch(() => {
    throw new NotHere("there is no chromium on this machine (Debian: apt-get install chromium)");
  });
  const files = await serveFiles(installed(`openclaw-v${generation}`, "dist/control-ui"));
  const library = await loadLibrary<Library>("playwright-core");
  const browser = await library.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(patienceMs);
  const errors: Error[] = [];
  page.on("pageerror", (error) => void errors.push(error));
  const origin = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  await page.goto(`${origin}/?gatewayUrl=${encodeURIComponent(rig.gateway.url)}#token=${rig.gateway.token}`);
  await page.getByRole("button", { name: /^(Switch to .*|Confirm)$/ }).click();
  return {
    page,
    origin,
    errors,
    async [Symbol.asyncDispose]() {
      await browser.close();
      files.closeAllConnections();
      files.close();
    },
  };
}

const types: Readonly<Record<string, string>> = {
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** As the gateways they belong to serve them: every path without an extension is the one page, whose files lie at the root. */
async function serveFiles(folder: string): Promise<Server> {
  const html = (await readFile(join(folder, "index.html"), "utf8"))
    .replaceAll('"./', '"/')
    .replace("<html", '<html data-openclaw-control-ui-base-path=""');
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://pages").pathname;
    const extension = extname(path);
    if (extension === "") return void response.writeHead(200, { "content-type": "text/html" }).end(html);
    readFile(join(folder, path)).then(
      (body) => response.writeHead(200, { "content-type": types[extension] ?? "application/octet-stream" }).end(body),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return server;
}
