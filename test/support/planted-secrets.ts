/** Secrets that no process of a test may print; see secret-watch.ts. */

/** What is shorter would be found by chance. */
const SECRET_MIN_CHARS = 12;

const planted = new Set<string>();

/** From now on no process may print `secret`. */
export function plantSecret(secret: string): void {
  if (secret.length >= SECRET_MIN_CHARS) planted.add(secret);
}

export function plantedIn(text: string): boolean {
  for (const secret of planted) if (text.includes(secret)) return true;
  return false;
}
