/** Setup codes over the methods: what the caller asked becomes a code, and under which address the device will look for us. */
import type { Handlers } from "../dispatch/types.ts";
import type { SetupCodes } from "../identity/setup-codes.ts";

export interface SetupHandlerDeps {
  readonly setupCodes: Pick<SetupCodes, "issue" | "status">;
  /** Configured; undefined when there is none. */
  readonly publicUrl: string | undefined;
  readonly listeningUrl: () => string;
  readonly authMode: string;
  /** A picture of the text as a data URL. */
  readonly toQrDataUrl: (text: string) => Promise<string>;
}

export function setupHandlers(deps: SetupHandlerDeps): Pick<Handlers, "device.pair.setupCode" | "device.pair.setupStatus"> {
  return {
    "device.pair.setupCode": async ({ principal }, { role, scopes, minutes, bootstrapProfile, publicUrl, includeQr }) => {
      const address = addressOf(publicUrl, deps);
      const profileRole = bootstrapProfile === "node" ? "node" : "operator";
      const issued = await deps.setupCodes.issue({ role: role ?? profileRole, scopes, minutes, url: address.gatewayUrl }, principal);
      return {
        ...issued,
        scopes: [...issued.scopes],
        ...(includeQr === true ? { qrDataUrl: await deps.toQrDataUrl(issued.setupCode) } : {}),
        ...address,
        auth: deps.authMode,
      };
    },
    "device.pair.setupStatus": async (_context, { setupId }) => {
      const status = await deps.setupCodes.status(setupId);
      if (status.state !== "completed") return { state: status.state };
      const { deviceName, ...facts } = status.completion;
      const completion = { ...facts, ...(deviceName === undefined ? {} : { deviceName }) };
      return { state: status.state, ...(status.isUncertain ? { deliveryUncertain: completion } : { completion }) };
    },
  };
}

function addressOf(asked: string | undefined, { publicUrl, listeningUrl }: SetupHandlerDeps) {
  if (asked !== undefined) return { gatewayUrl: toSocketUrl(asked), urlSource: "params.publicUrl" } as const;
  if (publicUrl !== undefined) return { gatewayUrl: toSocketUrl(publicUrl), urlSource: "gateway.publicUrl" } as const;
  return { gatewayUrl: listeningUrl(), urlSource: "gateway.bind" } as const;
}

/** http becomes ws and https wss; without the credentials an URL can carry. */
function toSocketUrl(text: string): string {
  const url = new URL(text.replace(/^http/i, "ws"));
  const path = url.pathname === "/" ? "" : url.pathname;
  return `${url.protocol}//${url.host}${path}`;
}
