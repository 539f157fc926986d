/** What tells one gateway's address from another's. */

/** `scheme://host:port` in one spelling; a path or a user name does not make another gateway. Pure. */
export function addressOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
