/** The certificate the gateway shows: one it generates and keeps in the state folder, or the files of its owner. */
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join, resolve } from "node:path";
import { ConfigError, type Config } from "../kit/config.ts";
import { createSelfSigned } from "../kit/self-signed.ts";
import { openKeyFile } from "./state-keys.ts";

export interface TlsIdentity {
  /** PEM. */
  readonly key: string;
  /** PEM, the chain when the file has one. */
  readonly cert: string;
  /** SHA-256 of the certificate, upper-case hex with colons: what clients pin. */
  readonly fingerprint: string;
}

export interface TlsPlaces {
  readonly stateDir: string;
  readonly configFile: string;
  readonly nowMs: number;
}

const lifetimeMs = 10 * 365 * 86_400_000;

/** Undefined when `gateway.tls.mode` is off. @throws ConfigError or StateKeyError, one line that names the file and the fix. */
export async function openTls(config: Config["gateway"], places: TlsPlaces): Promise<TlsIdentity | undefined> {
  const { tls } = config;
  if (tls.mode === "off") return undefined;
  const { key, cert, place } = tls.mode === "generated" ? await openGenerated(config, places) : await readFiles(tls, places);
  return { key, cert, fingerprint: checkPair({ key, cert, place, nowMs: places.nowMs }) };
}

interface Pair {
  readonly key: string;
  readonly cert: string;
  /** The certificate's file, for a person. */
  readonly place: string;
}

async function openGenerated(config: Config["gateway"], { stateDir, nowMs }: TlsPlaces): Promise<Pair> {
  const [keyFile, place] = [join(stateDir, "tls-key.pem"), join(stateDir, "tls-cert.pem")];
  const makeKey = (): string =>
    generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const key = await openKeyFile(keyFile, makeKey, []);
  const makeCertificate = (): string =>
    createSelfSigned({
      key: createPrivateKey(key),
      names: namesOf(config),
      // A little in the past: a client's clock may be behind.
      notBefore: new Date(nowMs - 86_400_000),
      notAfter: new Date(nowMs + lifetimeMs),
      serial: randomBytes(16),
    });
  return { key, cert: await openKeyFile(place, makeCertificate, []), place };
}

/** Under which names clients reach the gateway, as far as it knows. */
function namesOf({ bind, publicUrl }: Config["gateway"]): readonly string[] {
  const host = publicUrl === undefined ? undefined : URL.parse(publicUrl)?.hostname.replace(/^\[(.*)\]$/, "$1");
  return [...new Set([...(host === undefined ? [] : [host]), "localhost", "127.0.0.1", "::1", ...(isIP(bind) === 0 ? [] : [bind])])];
}

async function readFiles({ certFile, keyFile }: Config["gateway"]["tls"], { configFile }: TlsPlaces): Promise<Pair> {
  if (certFile === undefined || keyFile === undefined)
    throw new ConfigError("gateway.tls.mode is files: set gateway.tls.certFile and gateway.tls.keyFile, both PEM");
  const [place, keyPath] = [resolve(dirname(configFile), certFile), resolve(dirname(configFile), keyFile)];
  const { mode } = await read(keyPath, () => stat(keyPath));
  if ((mode & 0o077) !== 0)
    throw new ConfigError(`the TLS key ${keyPath} is open to other users (mode ${(mode & 0o777).toString(8)}); run: chmod 600 ${keyPath}`);
  return { key: await read(keyPath, () => readFile(keyPath, "utf8")), cert: await read(place, () => readFile(place, "utf8")), place };
}

async function read<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new ConfigError(`${path} cannot be read (${code}): it must exist and belong to the user that runs the gateway`, { cause: error });
  }
}

/** The fingerprint of a certificate that is one, fits its key and has not expired. */
function checkPair({ key, cert, place, nowMs }: Pair & { readonly nowMs: number }): string {
  const certificate = parse(place, () => new X509Certificate(cert));
  const fits = parse(place, () => certificate.checkPrivateKey(createPrivateKey(key)));
  if (!fits) throw new ConfigError(`the certificate ${place} does not belong to its key: give both of one pair, or remove both`);
  if (Date.parse(certificate.validTo) <= nowMs)
    throw new ConfigError(
      `the certificate ${place} has expired (${certificate.validTo}): renew it; a generated one is made anew when its file is removed`,
    );
  return certificate.fingerprint256;
}

function parse<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ConfigError(`the certificate ${place} or its key cannot be read as PEM: give a valid pair, or remove a generated one`, {
      cause: error,
    });
  }
}
