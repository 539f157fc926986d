/**
 * Which gateway a command talks to, and which shared secret belongs to it. The address comes from the flags, else the
 * environment, else the home; a secret goes only to the address it stands beside.
 */
import { createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { openPinStore, parseFingerprint } from "@portreeve/client";
import type { Home } from "@portreeve/gateway/home";
import { isAlive, readRunning } from "@portreeve/gateway/running";
import { usageError } from "./exit.ts";

export interface Target {
  readonly url: string;
  /** SHA-256 of the only certificate to accept; undefined: one that the system trusts. */
  readonly tlsFingerprint: string | undefined;
  /** The secret for `url`, or undefined. Read when first asked for: most calls need none. */
  secret(): Promise<TargetSecret | undefined>;
}

export interface TargetSecret {
  readonly value: string;
  /** The only gateway key that may be sent the secret; undefined: whoever named the secret named the address too. */
  readonly onlyFor: string | undefined;
}

/** What the home knows of its gateway. Absent parts are undefined; nothing is created. */
export interface HomeFacts {
  /** The gateway that runs on this home, as it says itself. */
  running(): Promise<{ readonly url: string; readonly tlsFingerprint?: string | undefined } | undefined>;
  /** What the configuration file says of address and secret. */
  config(): Promise<{ readonly port?: number | undefined; readonly bind?: string | undefined; readonly token?: string | undefined }>;
  /** The generated secret. */
  secret(): Promise<string | undefined>;
  /** The certificate that was pinned for `url` before. */
  pin(url: string): Promise<string | undefined>;
  /** The public key of the gateway whose state is in this home. */
  gatewayKey(): Promise<string | undefined>;
}

export interface TargetFlags {
  readonly url?: string | undefined;
  readonly token?: string | undefined;
  readonly tlsFingerprint?: string | undefined;
}

/** For whoever named something else. */
export const expectedFingerprint = "a SHA-256: 64 hexadecimal digits, with or without colons, as the gateway prints it at its start";

const defaultPort = 18_789;

function assertAddress(name: string, text: string | undefined): void {
  if (text === undefined || (URL.canParse(text) && /^(wss?|https?):$/.test(new URL(text).protocol))) return;
  throw usageError(`${name} is ${text}; expected an address such as ws://127.0.0.1:${defaultPort} or wss://gateway.example.`);
}

/** Finds the gateway. Reads from `home` only what flags and environment leave open. */
export async function findTarget(flags: TargetFlags, env: Readonly<Record<string, string | undefined>>, home: HomeFacts): Promise<Target> {
  const envUrl = env["PORTREEVE_URL"] || undefined;
  const envToken = env["PORTREEVE_TOKEN"] || undefined;
  assertAddress("--url", flags.url);
  if (flags.url === undefined) assertAddress("PORTREEVE_URL", envUrl);
  const url = flags.url ?? envUrl ?? (await homeUrl(home));
  const isOfHome = async (): Promise<boolean> => (flags.url ?? envUrl) === undefined || url === (await homeUrl(home));
  const at = { url, tlsFingerprint: await findPin({ url, envUrl, flag: flags.tlsFingerprint }, env, home) };
  if (flags.token !== undefined) return withSecret(at, flags.token);
  // PORTREEVE_TOKEN belongs to PORTREEVE_URL; without that, to the gateway of the home, which reads the same variable.
  if (envToken !== undefined && (envUrl === undefined ? await isOfHome() : url === envUrl)) return withSecret(at, envToken);
  return { ...at, secret: async () => ((await isOfHome()) ? await homeSecret(home) : undefined) };
}

/** The key of the gateway that `url` names, when it is the one of this home: its file is on this machine. */
export async function findHomeKey(url: string, home: HomeFacts): Promise<string | undefined> {
  return url === (await homeUrl(home)) ? home.gatewayKey() : undefined;
}

/** The facts of a home on disk. */
export function readHome(home: Home): HomeFacts {
  return {
    async running() {
      const said = await readRunning(home.stateDir);
      // After a crash the file stays behind, and another program may listen at its address.
      return said !== undefined && isAlive(said.pid) ? said : undefined;
    },
    config: () => readAddress(home.configFile),
    secret: async () => (await findText(home.secretFile))?.trim(),
    pin: (url) => openPinStore(pinFileIn(home)).find(url),
    gatewayKey: async () => publicKeyOf(await findText(join(home.stateDir, "gateway-key.pem"))),
  };
}

/** A pin belongs to the address it stands beside, as a secret does; the gateway of this home says its own. */
async function findPin(
  { url, envUrl, flag }: { readonly url: string; readonly envUrl: string | undefined; readonly flag: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
  home: HomeFacts,
): Promise<string | undefined> {
  if (flag !== undefined || !url.startsWith("wss:")) return flag;
  const envPin = url === envUrl ? env["PORTREEVE_TLS_FINGERPRINT"] || undefined : undefined;
  if (envPin !== undefined && parseFingerprint(envPin) === undefined)
    throw usageError(`PORTREEVE_TLS_FINGERPRINT is ${envPin}; expected ${expectedFingerprint}.`);
  if (envPin !== undefined) return envPin;
  const running = await home.running();
  return running?.url === url ? running.tlsFingerprint : await home.pin(url);
}

/** Where this terminal keeps the certificates it was told to pin. */
export function pinFileIn(home: Home): string {
  return join(home.cliDir, "tls-pins.json");
}

function withSecret(at: Pick<Target, "url" | "tlsFingerprint">, value: string): Target {
  return { ...at, secret: () => Promise.resolve({ value, onlyFor: undefined }) };
}

async function homeUrl(home: HomeFacts): Promise<string> {
  const running = await home.running();
  if (running !== undefined) return running.url;
  const { port, bind } = await home.config();
  const host = bind === undefined || bind === "loopback" || bind === "lan" ? "127.0.0.1" : bind;
  return `ws://${host.includes(":") ? `[${host}]` : host}:${port || defaultPort}`;
}

async function homeSecret(home: HomeFacts): Promise<TargetSecret | undefined> {
  const value = (await home.config()).token ?? (await home.secret());
  return value === undefined || value === "" ? undefined : { value, onlyFor: await home.gatewayKey() };
}

/** A mistake in the file is the gateway's to report: here it only means that the file says nothing. */
async function readAddress(file: string): ReturnType<HomeFacts["config"]> {
  const text = await findText(file);
  // The parser costs more than a whole call: it is loaded only for a file that may name one of them.
  if (text === undefined || !/port|bind|token|password|\\/.test(text)) return {};
  const { parseConfig } = await import("@portreeve/gateway/config");
  try {
    const { port, bind, auth } = parseConfig(text, file).gateway;
    const [value, secretFile] = auth.mode === "password" ? [auth.password, auth.passwordFile] : [auth.token, auth.tokenFile];
    const fromFile = secretFile === undefined ? undefined : (await findText(resolve(dirname(file), secretFile)))?.trim();
    return { port, bind, token: value?.reveal() ?? fromFile };
  } catch {
    return {};
  }
}

async function findText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return undefined;
    throw error;
  }
}

function publicKeyOf(pem: string | undefined): string | undefined {
  try {
    return pem === undefined ? undefined : createPublicKey(pem).export({ format: "jwk" }).x;
  } catch {
    return undefined;
  }
}
