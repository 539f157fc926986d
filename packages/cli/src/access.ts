/**
 * How the command line opens connections: it pairs once at its declared ceiling with the shared secret, and from then on
 * opens each call with exactly the call's scopes and the device token of that gateway.
 */
import {
  addressOf,
  ConnectionError,
  GatewayClient,
  RemoteError,
  type ClientInfo,
  type ClientOptions,
  type Credential,
  type DeviceKey,
  type GatewayPins,
  type Presentation,
  type TokenStore,
} from "@portreeve/client";
import { coversAll } from "@portreeve/protocol/wire";
import type { Target } from "./target.ts";

/** Everything the command line will ever ask for, declared at the connect that pairs it, so that no later call is an upgrade. */
export const ceiling: readonly string[] = ["operator.admin", "operator.approvals", "operator.pairing", "operator.read", "operator.write"];

export interface AccessOptions {
  readonly target: Target;
  /** Opens the device's key, when a connection first needs it. */
  readonly device: () => Promise<DeviceKey>;
  readonly tokens: TokenStore;
  /** Where they are kept, for a person. */
  readonly tokensFile?: string;
  readonly pins: GatewayPins;
  readonly version: string;
  /** Keeps the pin for the next time: once the certificate is the named one, also when the gateway then refuses. */
  readonly keepPin?: (() => Promise<void>) | undefined;
}

/** What becomes of a connection that is lost. */
export type Keeping = Pick<ClientOptions, "reconnect" | "onOpen">;
const once: Keeping = { reconnect: false };

interface Manner {
  readonly keep: Keeping;
  /** Called before this device presents itself without a token; when it rejects, it does not. */
  readonly beforeMeeting?: () => Promise<void>;
}

export class Access {
  readonly #options: AccessOptions;
  #socketsOpened = 0;

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /** WebSockets opened so far, those of failed attempts and of pairing included. */
  get socketsOpened(): number {
    return this.#socketsOpened;
  }

  /**
   * A connection with exactly `scopes`; the caller closes it. A gateway that does not prove its key is given no token and
   * none is kept for it: each call goes with the secret.
   * @throws RemoteError for a refusal; ConnectionError when there is no answer.
   */
  async open(scopes: readonly string[], keep: Keeping = once): Promise<GatewayClient> {
    return this.#open(scopes, { keep });
  }

  async #open(scopes: readonly string[], manner: Manner): Promise<GatewayClient> {
    try {
      return await this.#openPaired(scopes, manner);
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
      const { gatewayKey, token, refusal } = error;
      await this.#options.tokens.forget({ gatewayKey, url: this.#options.target.url }, token);
      if ((await this.#options.target.secret()) === undefined) throw refusal;
      return await this.#openPaired(scopes, manner);
    }
  }

  /** The id under which a gateway knows this device. */
  async deviceId(): Promise<string> {
    return (await this.#options.device()).id;
  }

  /** Remembers the next token of this device, given by the gateway that proved `gatewayKey`. */
  async keepToken(gatewayKey: string | undefined, token: string): Promise<void> {
    if (gatewayKey !== undefined) await this.#options.tokens.save({ gatewayKey, url: this.#options.target.url }, token);
  }

  /** As `open`; when this device waits for an approval or may not ask for so much, with the shared secret alone: the owner can always decide. */
  async openAsOwner(scopes: readonly string[]): Promise<GatewayClient> {
    try {
      return await this.#open(scopes, { keep: once, beforeMeeting: () => this.#assertNotWaiting() });
    } catch (error) {
      if (error instanceof AlreadyWaits) return await this.#openAlone(scopes);
      if (!(error instanceof RemoteError && (error.code === "PAIRING_REQUIRED" || error.code === "AUTH_SCOPE_MISMATCH"))) throw error;
      if ((await this.#options.target.secret()) === undefined) throw error;
      const client = await this.#openAlone(scopes);
      // Anywhere but on the gateway's machine the secret alone is let in with nothing.
      if (coversAll(client.hello.scopes ?? scopes, scopes)) return client;
      client.close();
      throw error;
    }
  }

  /** As `openAsOwner` with `most`, for what shows more to whoever may more; when this device may not ask for so much, with `least`. */
  async openWithMost(most: readonly string[], least: readonly string[]): Promise<GatewayClient> {
    try {
      return await this.openAsOwner(most);
    } catch (error) {
      if (!(error instanceof RemoteError && error.code === "AUTH_SCOPE_MISMATCH")) throw error;
      return await this.openAsOwner(least);
    }
  }

  /** @throws AlreadyWaits. To ask again would give the request other words than whoever looks has seen. */
  async #assertNotWaiting(): Promise<void> {
    if ((await this.#options.target.secret()) === undefined) return;
    const own = await this.deviceId();
    // Who may not read the list, or cannot, asks as if nothing waited.
    if (await this.#isWaiting(own).catch(() => false)) throw new AlreadyWaits();
  }

  async #isWaiting(device: string): Promise<boolean> {
    using client = await this.#openAlone(["operator.pairing"]);
    const { pending } = await client.call("device.pair.list", {});
    return pending.some(({ deviceId }) => deviceId === device);
  }

  /** With the shared secret and without the device. */
  #openAlone(scopes: readonly string[]): Promise<GatewayClient> {
    return this.#connect(undefined, async (gatewayKey) => ({ scopes, credential: await this.#secretFor(gatewayKey) }));
  }

  /** Opens with the gateway's token; without one, first pairs at the ceiling and keeps the token that comes back. */
  async #openPaired(scopes: readonly string[], manner: Manner): Promise<GatewayClient> {
    const first = await this.#openOnce(scopes, ceiling, manner);
    if (!first.isMeeting) return first.client;
    first.client.close();
    return (await this.#openOnce(scopes, scopes, manner)).client;
  }

  async #openOnce(
    scopes: readonly string[],
    scopesToMeet: readonly string[],
    { keep, beforeMeeting }: Manner,
  ): Promise<{ client: GatewayClient; isMeeting: boolean }> {
    const { target, tokens } = this.#options;
    const presented: { gatewayKey: string | undefined; token: string | undefined } = { gatewayKey: undefined, token: undefined };
    const device = await this.#options.device();
    try {
      const client = await this.#connect(
        device,
        async (gatewayKey) => {
          if (gatewayKey === undefined) return { scopes, credential: await this.#secretFor(undefined) };
          presented.gatewayKey = gatewayKey;
          presented.token = await tokens.find({ gatewayKey, url: target.url });
          if (presented.token !== undefined) return { scopes, credential: { kind: "device-token", value: presented.token } };
          await beforeMeeting?.();
          return { scopes: scopesToMeet, credential: await this.#secretFor(gatewayKey) };
        },
        keep,
      );
      const { gatewayKey, token } = presented;
      if (gatewayKey === undefined || token !== undefined) return { client, isMeeting: false };
      const { deviceToken } = client.hello;
      if (deviceToken !== undefined) await tokens.save({ gatewayKey, url: target.url }, deviceToken);
      return { client, isMeeting: true };
    } catch (error) {
      const { gatewayKey, token } = presented;
      const isTokenRefused = error instanceof RemoteError && error.code === "AUTH_DEVICE_TOKEN_MISMATCH";
      if (isTokenRefused && gatewayKey !== undefined && token !== undefined) throw new TokenRefused(gatewayKey, token, error);
      throw error;
    }
  }

  async #connect(
    device: DeviceKey | undefined,
    present: (gatewayKey: string | undefined) => Promise<Presentation>,
    keep: Keeping = once,
  ): Promise<GatewayClient> {
    this.#socketsOpened += 1;
    let asked: readonly string[] = [];
    const client: ClientInfo = { id: "cli", mode: "cli", version: this.#options.version, platform: process.platform };
    return await GatewayClient.open({
      url: this.#options.target.url,
      tlsFingerprint: this.#options.target.tlsFingerprint,
      client,
      device,
      caps: ["tool-events"],
      ...keep,
      pins: this.#options.pins,
      present: async ({ gatewayKey }) => {
        await this.#options.keepPin?.();
        const presentation = await present(gatewayKey);
        asked = presentation.scopes;
        return presentation;
      },
    }).catch((error: unknown) => {
      throw error instanceof RemoteError && error.code === "AUTH_SCOPE_MISMATCH" ? this.#nameScopes(error, asked) : error;
    });
  }

  /** The gateway says that the token does not cover what was asked for, and not what that was. */
  #nameScopes({ wireCode, details, close }: RemoteError, asked: readonly string[]): RemoteError {
    const { target, tokensFile = "cli/tokens.json" } = this.#options;
    const remedy = [
      "On the gateway's machine, ./portreeve devices shows what this device may do.",
      `To ask for more, with the gateway's secret: rm ${tokensFile}; ./portreeve status --url ${addressOf(target.url)} --token SECRET`,
      "Then, on the gateway's machine: ./portreeve devices approve ID, as that says",
    ].join("\n");
    const message = `this device was not approved for all of what this needs: ${asked.join(" and ") || "no scope"}`;
    return new RemoteError(
      { code: wireCode, message, details: { ...details, code: "AUTH_SCOPE_MISMATCH", remediationHint: remedy } },
      close,
    );
  }

  async #secretFor(gatewayKey: string | undefined): Promise<Credential> {
    const { url } = this.#options.target;
    const secret = await this.#options.target.secret();
    if (secret === undefined) return { kind: "none" };
    if (secret.onlyFor === undefined || secret.onlyFor === gatewayKey) return { kind: "secret", value: secret.value };
    const message = `What answers at ${url} is not the gateway of this home, so its secret was not sent. If you trust it, name its own with --url and --token.`;
    throw new ConnectionError("unproved", message, { phase: "connecting", url });
  }
}

/** Between `#assertNotWaiting` and `openAsOwner` only: a request of this device waits. */
class AlreadyWaits extends Error {}

/** Between `#openOnce` and `open` only: the stored token is no longer good. */
class TokenRefused extends Error {
  readonly gatewayKey: string;
  readonly token: string;
  readonly refusal: RemoteError;

  constructor(gatewayKey: string, token: string, refusal: RemoteError) {
    super(refusal.message, { cause: refusal });
    this.gatewayKey = gatewayKey;
    this.token = token;
    this.refusal = refusal;
  }
}
