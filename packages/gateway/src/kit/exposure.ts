/** Who could reach a gateway that starts with this configuration: what must not start, and what is said when it does. Pure. */
import { isIP } from "node:net";
import { ConfigError, type Config } from "./config.ts";

type GatewayConfig = Config["gateway"];

/** @throws ConfigError with one line: what is wrong, and what to set. */
export function assertMayStart(config: GatewayConfig): void {
  const problem = findProblem(config);
  if (problem !== undefined) throw new ConfigError(problem);
}

/** What the person who starts the gateway must have seen. */
export function findWarnings({ bind, auth, tls }: GatewayConfig): readonly string[] {
  return [
    ...(auth.mode === "none"
      ? ["Authentication is OFF (gateway.auth.mode is none): every program on this machine can pair itself and act as you."]
      : []),
    ...(tls.mode === "off" && !isLoopbackBind(bind)
      ? ["Connections from other machines are NOT encrypted (gateway.tls.insecurePlaintext): secrets can be read on the way."]
      : []),
  ];
}

/** Whether only this machine can reach the port. */
export function isLoopbackBind(bind: string): boolean {
  return bind === "loopback" || bind === "::1" || (isIP(bind) === 4 && bind.startsWith("127."));
}

function findProblem({ bind, auth, tls, trustedProxies }: GatewayConfig): string | undefined {
  const { mode } = auth;
  if (mode === "none" && !isLoopbackBind(bind)) {
    return `gateway.auth.mode is none, which lets everyone in who reaches the port, and gateway.bind is ${bind}: set gateway.bind to loopback, or gateway.auth.mode to token`;
  }
  if (tls.mode === "off" && !tls.insecurePlaintext && !isLoopbackBind(bind)) {
    return `gateway.bind is ${bind} and gateway.tls.mode is off, so secrets would cross the network readable: set gateway.tls.mode to generated, or gateway.tls.insecurePlaintext to true if something else encrypts`;
  }
  if (mode !== "password" && (auth.password !== undefined || auth.passwordFile !== undefined)) {
    return `a password is configured but gateway.auth.mode is ${mode}, which does not use it: set gateway.auth.mode to password, or remove the password`;
  }
  if (mode === "password" && (auth.token !== undefined || auth.tokenFile !== undefined)) {
    return "a token is configured but gateway.auth.mode is password, which does not use it: set gateway.auth.mode to token, or remove the token";
  }
  if ((auth.token !== undefined && auth.tokenFile !== undefined) || (auth.password !== undefined && auth.passwordFile !== undefined)) {
    return "the secret is configured twice, as a value and as a file: keep one of gateway.auth.token and tokenFile (or password and passwordFile)";
  }
  if (mode !== "trusted-proxy") return undefined;
  if (auth.trustedProxy === undefined) {
    return "gateway.auth.mode is trusted-proxy without gateway.auth.trustedProxy: set its userHeader to the header in which the proxy names the user";
  }
  if (trustedProxies.length === 0) {
    return "gateway.auth.mode is trusted-proxy but gateway.trustedProxies is empty: list the proxy's address there";
  }
  if (!auth.trustedProxy.allowLoopback && trustedProxies.every(isLoopbackBind)) {
    return "gateway.auth.mode is trusted-proxy and every trusted proxy is on this machine, where any program could pretend to be it: set gateway.auth.trustedProxy.allowLoopback to true if that is meant";
  }
  return undefined;
}
