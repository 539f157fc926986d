/** How a refused connection is told: the texts and codes that clients of both versions parse, each with the next step. */
import { ProtocolError, type ErrorCode } from "@portreeve/protocol";
import type { Grant, PairingReason, PairingRecord } from "../store/device-store.ts";
import type { ProofVerdict } from "./device-proof.ts";
import type { Ask, RefusalCode } from "./grant.ts";

const requirements: Readonly<Record<PairingReason, string>> = {
  "not-paired": "device is not approved yet",
  "role-upgrade": "device is asking for a higher role than currently approved",
  "scope-upgrade": "device is asking for more scopes than currently approved",
  "metadata-upgrade": "device identity changed and must be re-approved",
};

export interface PairingRefusal {
  readonly reason: PairingReason;
  /** Undefined when the bound on waiting requests is reached and none was recorded. */
  readonly request: PairingRecord | undefined;
  readonly deviceId: string;
  readonly ask: Ask;
  /** Of the device as it is approved, if it is. */
  readonly grants: readonly Grant[];
}

/** The device, or what it asks for, waits for a person. */
export function pairingRequired({ reason, request, deviceId, ask, grants }: PairingRefusal): ProtocolError {
  const live = grants.filter((grant) => grant.revokedAtMs === undefined);
  const approvedScopes = [...new Set(live.flatMap((grant) => grant.scopes))].sort();
  return new ProtocolError("PAIRING_REQUIRED", `pairing required: ${requirements[reason]}`, {
    details: {
      reason,
      ...(request === undefined ? {} : { requestId: request.requestId }),
      deviceId,
      requestedRole: ask.role,
      ...listed("requestedScopes", ask.scopes),
      ...listed(
        "approvedRoles",
        live.map((grant) => grant.role),
      ),
      ...listed("approvedScopes", approvedScopes),
    },
    remedy:
      request === undefined
        ? "Too many pairing requests wait on this gateway. On its machine run: ./portreeve devices list, then approve or reject some, and connect again."
        : `On the gateway's machine run: ./portreeve devices approve ${request.requestId}`,
  });
}

/** Somebody rejected the request while the device was being judged: nothing new waits. */
export function pairingRejected(refusal: PairingRefusal): ProtocolError {
  const { message, details } = pairingRequired(refusal);
  return new ProtocolError("PAIRING_REQUIRED", message, {
    details,
    remedy: "The request was rejected. Ask whoever runs the gateway, then connect again to make a new request.",
  });
}

interface Wording {
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly remedy: string;
}

const secretRemedy =
  "Present this gateway's secret: what its configuration or PORTREEVE_TOKEN says, else the file `secret` in its state folder.";

const passwordRemedy = "Present this gateway's password: what its configuration, the file it names or PORTREEVE_PASSWORD says.";

const wordings: Readonly<Record<RefusalCode, Wording>> = {
  AUTH_TOKEN_MISSING: {
    message: "unauthorized: gateway token missing (provide the gateway's token)",
    details: { authReason: "token_missing", canRetryWithDeviceToken: false, recommendedNextStep: "update_auth_configuration" },
    remedy: secretRemedy,
  },
  AUTH_TOKEN_MISMATCH: {
    message: "unauthorized: gateway token mismatch (provide the gateway's token)",
    details: { authReason: "token_mismatch", canRetryWithDeviceToken: false, recommendedNextStep: "update_auth_credentials" },
    remedy: secretRemedy,
  },
  AUTH_PASSWORD_MISSING: {
    message: "unauthorized: gateway password missing (provide the gateway's password)",
    details: { authReason: "password_missing", canRetryWithDeviceToken: false, recommendedNextStep: "update_auth_configuration" },
    remedy: passwordRemedy,
  },
  AUTH_PASSWORD_MISMATCH: {
    message: "unauthorized: gateway password mismatch (provide the gateway's password)",
    details: { authReason: "password_mismatch", canRetryWithDeviceToken: false, recommendedNextStep: "update_auth_credentials" },
    remedy: passwordRemedy,
  },
  AUTH_DEVICE_TOKEN_MISMATCH: {
    message: "unauthorized: device token mismatch (rotate/reissue device token)",
    details: { authReason: "device_token_mismatch", canRetryWithDeviceToken: false, recommendedNextStep: "update_auth_credentials" },
    remedy: `The device token was rotated or revoked, or belongs to another gateway. Connect once with the gateway's secret to get the current one. ${secretRemedy}`,
  },
  AUTH_SCOPE_MISMATCH: {
    message: "unauthorized: device token scope mismatch (ask for scopes the token has)",
    details: { authReason: "scope_mismatch", canRetryWithDeviceToken: false, recommendedNextStep: "review_auth_configuration" },
    remedy: "Ask for the scopes this device was approved for, or connect with the gateway's secret to request more and have them approved.",
  },
  DEVICE_IDENTITY_REQUIRED: {
    message: "device identity required",
    details: {},
    remedy: "Connect with a device key, or on the gateway's own machine with its secret.",
  },
  DEVICE_RECORD_CORRUPT: {
    message: "device record unreadable",
    details: {},
    remedy:
      "Restore the gateway's database from a backup, or give this client a new device key (for the CLI: move the folder `cli` in its home away) and connect again.",
  },
};

/** `device`: what the connection proved, if anything; a device that was refused its shared secret may hold a token to retry with. */
export function refused(code: RefusalCode, device?: { readonly deviceId: string }): ProtocolError {
  const { message, details, remedy } = wordings[code];
  if (code === "DEVICE_RECORD_CORRUPT" && device !== undefined) {
    return new ProtocolError(code, `${message}: the stored record of device ${device.deviceId} cannot be read`, {
      details: { deviceId: device.deviceId },
      remedy,
    });
  }
  if (code === "AUTH_TOKEN_MISMATCH" && device !== undefined) {
    return new ProtocolError(code, message, {
      details: { ...details, canRetryWithDeviceToken: true, recommendedNextStep: "retry_with_device_token" },
      remedy,
    });
  }
  return new ProtocolError(code, message, { details, remedy });
}

/** The gateway takes users from its trusted proxy alone. */
export function proxyRefused({ reason, header }: { readonly reason: string; readonly header?: string | undefined }): ProtocolError {
  const details = { authReason: reason, canRetryWithDeviceToken: false, recommendedNextStep: "review_auth_configuration" };
  if (header === undefined) {
    return new ProtocolError("AUTH_UNAUTHORIZED", `unauthorized: not admitted by the trusted proxy (${reason})`, {
      details,
      remedy: "Connect through the gateway's proxy as a user it allows (gateway.trustedProxies, gateway.auth.trustedProxy.allowUsers).",
    });
  }
  return new ProtocolError("AUTH_IDENTITY_HEADER_REQUIRED", `unauthorized: the trusted proxy sent no ${header} header`, {
    details,
    remedy: `Let the proxy send ${header} with every request (gateway.auth.trustedProxy).`,
  });
}

/** Too many failed attempts came from the peer. */
export function rateLimited(retryAfterMs: number): ProtocolError {
  return new ProtocolError("AUTH_RATE_LIMITED", "unauthorized: too many failed authentication attempts (retry later)", {
    details: { authReason: "rate_limited", canRetryWithDeviceToken: false, recommendedNextStep: "wait_then_retry" },
    retryAfterMs,
    remedy: `Wait ${Math.ceil(retryAfterMs / 1_000)} seconds, then connect with the right credential. The gateway's own machine is never locked out.`,
  });
}

/** A setup code that does not let this device in; why is not told. */
export function setupCodeRefused(): ProtocolError {
  const message = "unauthorized: setup code invalid, expired, revoked, or already used (scan a fresh setup code)";
  return new ProtocolError("AUTH_BOOTSTRAP_TOKEN_INVALID", message, {
    details: { authReason: "bootstrap_token_invalid", canRetryWithDeviceToken: false, recommendedNextStep: "review_auth_configuration" },
    remedy: "A code pairs one device once, for what it says. On the gateway's machine make a new one: ./portreeve devices invite",
  });
}

/** A control UI or terminal UI without a device. */
export function uiDeviceRequired(): ProtocolError {
  return new ProtocolError(
    "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
    "control ui requires device identity (use HTTPS or localhost secure context)",
    {
      remedy: "Open the page over https:// or from http://localhost, where the browser can keep a device key.",
    },
  );
}

const proofRemedies: Partial<Record<ErrorCode, string>> = {
  DEVICE_AUTH_SIGNATURE_EXPIRED: "Set this machine's clock right (at most two minutes off the gateway's) and connect again.",
  DEVICE_AUTH_NONCE_REQUIRED: "Sign the nonce of this connection's connect.challenge.",
  DEVICE_AUTH_NONCE_MISMATCH: "Sign the nonce of this connection's connect.challenge; it is new for every connection.",
};

export function proofRefused(verdict: Extract<ProofVerdict, { kind: "refused" }>): ProtocolError {
  return new ProtocolError(verdict.code, verdict.message, {
    details: { reason: verdict.reason },
    remedy: proofRemedies[verdict.code] ?? "Check the client's device key: id, public key and signature must belong together.",
  });
}

function listed(key: string, values: readonly string[]): Readonly<Record<string, readonly string[]>> {
  return values.length === 0 ? {} : { [key]: values };
}
