/** How deep JSON nests. Writing JSON recurses: a value that was read without trouble may be one that nobody can write. Pure. */

/** Whether `value` nests deeper than `levels`; looks no further than that. */
export function nestsDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((one) => nestsDeeperThan(one, levels - 1));
}
