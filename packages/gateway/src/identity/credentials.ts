/** The two credentials a connection can present: the shared secret, and a device token, which is derived and never stored. */
import { createHmac, timingSafeEqual, type KeyObject } from "node:crypto";
import type { ConnectParams } from "@portreeve/protocol";
import { Secret } from "../kit/secret.ts";

export interface DeviceTokenSubject {
  readonly deviceId: string;
  readonly role: string;
  /** Raised by rotate and revoke: every earlier token of the role ends. */
  readonly generation: number;
}

export type Match = "right" | "wrong" | "absent";

export interface Credentials {
  /** Whether `token` or `password` is the shared secret; either field may hold it. */
  checkSecret(auth: ConnectParams["auth"]): Match;
  /** Whether `deviceToken`, or `token` when there is none, is the token of `subject`. */
  checkDeviceToken(auth: ConnectParams["auth"], subject: DeviceTokenSubject): Match;
  /** 43 characters; the same for the same subject as long as the keys live. */
  deviceToken(subject: DeviceTokenSubject): Secret;
}

export function createCredentials(keys: {
  readonly secret: Pick<Secret, "equals">;
  readonly tokenKey: KeyObject;
  readonly gatewayId: string;
}): Credentials {
  const derive = ({ deviceId, role, generation }: DeviceTokenSubject): Buffer =>
    // As a JSON array no part can run into the next one.
    createHmac("sha256", keys.tokenKey)
      .update(JSON.stringify([keys.gatewayId, deviceId, role, generation]))
      .digest();

  return {
    checkSecret(auth) {
      const offered = [auth?.token ?? "", auth?.password ?? ""].filter((value) => value !== "");
      // Every candidate is compared, so that the time does not tell which field was right.
      const right = offered.map((candidate) => keys.secret.equals(candidate)).includes(true);
      return offered.length === 0 ? "absent" : right ? "right" : "wrong";
    },
    checkDeviceToken(auth, subject) {
      const candidate = auth?.deviceToken || auth?.token;
      if (!candidate) return "absent";
      const bytes = Buffer.from(candidate, "base64url");
      const expected = derive(subject);
      return bytes.toString("base64url") === candidate && bytes.length === expected.length && timingSafeEqual(bytes, expected)
        ? "right"
        : "wrong";
    },
    deviceToken: (subject) => new Secret(derive(subject).toString("base64url")),
  };
}
