/** Whether an address is this machine's own. */

/** Whether `url` can only be reached from this machine. Pure. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}
