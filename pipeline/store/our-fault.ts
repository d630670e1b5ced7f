/**
 * Failures that no store has a part in: a bug of ours, or a group too large for one statement.
 */

/**
 * It comes again however often the same group is tried, and a smaller one may do without: so it is one of `data`. Were
 * it one of the store, a single batch that we cannot handle would keep the store closed for all.
 */
export function isOurFault(cause: unknown): boolean {
  if (!(cause instanceof TypeError || cause instanceof RangeError)) return false;
  return !('code' in cause && cause.code === 'ERR_INVALID_URL');
}
