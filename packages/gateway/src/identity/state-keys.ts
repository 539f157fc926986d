/** The keys of a gateway, each a file of its own in the state folder: folder 0700, files 0600, made on first use and never rewritten. */
import { createHash, createPrivateKey, createSecretKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import { chmod, link, lstat, open, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { makePrivateFolder, secretFileIn } from "../kit/home.ts";
import { Secret } from "../kit/secret.ts";

export interface GatewayKey {
  /** Raw 32 bytes, base64url. */
  readonly publicKey: string;
  /** Ed25519 over the UTF-8 bytes of `text`, base64url. */
  sign(text: string): string;
}

export interface StateKeys {
  readonly secret: Secret;
  readonly secretSource: "config" | "environment" | "file";
  readonly gatewayKey: GatewayKey;
  /** Hex SHA-256 of the raw public key. */
  readonly gatewayId: string;
  /** Signs device tokens and nothing else. */
  readonly tokenKey: KeyObject;
  /** Paths whose permissions were wider than they may be; they are narrowed by the time this is returned. */
  readonly tightened: readonly string[];
}

export type StateKeyCode = "STATE_NOT_WRITABLE" | "STATE_NOT_READABLE" | "STATE_TOO_OPEN" | "STATE_DAMAGED";

/** A key, or the folder of the keys, cannot be used; the message names the path and the fix in one line. */
export class StateKeyError extends Error {
  override readonly name = "StateKeyError";
  readonly code: StateKeyCode;

  constructor(code: StateKeyCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export const gatewayKeyName = "gateway-key.pem";
export const tokenKeyName = "token-key";

export interface StateKeysOptions {
  readonly configuredSecret?: Secret | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Opens the keys in `stateDir`, making the folder and what is missing. The shared secret is the configured one, else
 * `PORTREEVE_TOKEN`, else the file `secret`.
 * @throws StateKeyError
 */
export async function openStateKeys(stateDir: string, options: StateKeysOptions): Promise<StateKeys> {
  const tightened: string[] = [];
  await prepareFolder(stateDir, tightened);
  const openKey = (path: string, make: () => string): Promise<string> => openKeyFile(path, make, tightened);

  const pemFile = join(stateDir, gatewayKeyName);
  const tokenKeyFile = join(stateDir, tokenKeyName);
  const pem = await openKey(pemFile, () => generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  const tokenKey = await openKey(tokenKeyFile, makeRandomText);
  const fromEnvironment = options.env["PORTREEVE_TOKEN"];
  const [secret, secretSource] = options.configuredSecret
    ? [options.configuredSecret, "config" as const]
    : fromEnvironment
      ? [new Secret(fromEnvironment), "environment" as const]
      : [new Secret(await openKey(secretFileIn(stateDir), makeRandomText)), "file" as const];

  const gatewayKey = parseGatewayKey(pem, pemFile);
  const gatewayId = createHash("sha256").update(Buffer.from(gatewayKey.publicKey, "base64url")).digest("hex");
  return { secret, secretSource, gatewayKey, gatewayId, tokenKey: parseTokenKey(tokenKey, tokenKeyFile), tightened };
}

async function prepareFolder(stateDir: string, tightened: string[]): Promise<void> {
  try {
    await makePrivateFolder(stateDir);
  } catch (error) {
    throw new StateKeyError(
      "STATE_NOT_WRITABLE",
      `state folder ${stateDir} cannot be made (${codeOf(error)}); make it writable for this user, or choose another with --state DIR`,
      error,
    );
  }
  await tighten(stateDir, 0o700, tightened);
}

/** The trimmed text of the key file; when there is none, a new one that is complete and on disk before it has its name. */
export async function openKeyFile(path: string, make: () => string, tightened: string[]): Promise<string> {
  if (!(await exists(path))) await createKeyFile(path, make());
  const stat = await lstat(path);
  if (!stat.isFile()) throw new StateKeyError("STATE_DAMAGED", `${path} is not a regular file; remove it and start again`);
  await tighten(path, 0o600, tightened);
  const text = (await readKeyFile(path)).trim();
  if (text === "") throw new StateKeyError("STATE_DAMAGED", `${path} is empty; ${whatHelps(path)}`);
  return text;
}

/** A backup has no token key: with the old one, tokens that were revoked since would be good again. */
function whatHelps(path: string): string {
  if (basename(path) === tokenKeyName)
    return "no backup holds it: remove it to have a new one made (each device then signs in with the secret once more)";
  const costs = basename(path) === gatewayKeyName ? " (clients then pair again)" : "";
  return `put the one of a backup in its place, or remove it to have a new one made${costs}`;
}

async function createKeyFile(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const file = await open(draft, "wx", 0o600);
    try {
      await file.writeFile(`${text.trim()}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    // A link never replaces what is there: of two gateways that start together both use the first one's key.
    await link(draft, path).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
    await syncFolder(join(path, ".."));
  } catch (error) {
    throw new StateKeyError(
      "STATE_NOT_WRITABLE",
      `${path} cannot be written (${codeOf(error)}); give this user a writable state folder with free space, or choose another with --state DIR`,
      error,
    );
  } finally {
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function tighten(path: string, mode: number, tightened: string[]): Promise<void> {
  const stat = await lstat(path);
  if ((stat.mode & 0o777 & ~mode) === 0) return;
  try {
    await chmod(path, mode);
  } catch (error) {
    throw new StateKeyError(
      "STATE_TOO_OPEN",
      `${path} is open to other users (mode ${(stat.mode & 0o777).toString(8)}) and cannot be narrowed; run: chmod ${mode.toString(8)} ${path}`,
      error,
    );
  }
  tightened.push(path);
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw unreadable(path, error);
  }
}

async function readKeyFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): StateKeyError {
  return new StateKeyError(
    "STATE_NOT_READABLE",
    `${path} cannot be read (${codeOf(error)}); it must belong to the user that runs the gateway`,
    error,
  );
}

/** @throws StateKeyError when `pem`, the text of `path`, is no Ed25519 private key. */
export function parseGatewayKey(pem: string, path: string): GatewayKey {
  const key = parsePrivateKey(pem);
  const publicKey = key?.asymmetricKeyType === "ed25519" ? key.export({ format: "jwk" }).x : undefined;
  if (key === undefined || publicKey === undefined) {
    throw new StateKeyError("STATE_DAMAGED", `${path} is no Ed25519 key; ${whatHelps(path)}`);
  }
  return { publicKey, sign: (text) => sign(null, Buffer.from(text, "utf8"), key).toString("base64url") };
}

function parsePrivateKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

/** @throws StateKeyError when `text`, the text of `path`, does not hold 32 bytes. */
export function parseTokenKey(text: string, path: string): KeyObject {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length !== 32) throw new StateKeyError("STATE_DAMAGED", `${path} does not hold 32 bytes; ${whatHelps(path)}`);
  return createSecretKey(bytes);
}

function makeRandomText(): string {
  return randomBytes(32).toString("base64url");
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error);
}
