/**
 * What both stores have to know of dead letters, beside how their tables are written and read.
 */

/**
 * A detail may quote what a sender sent. NUL and halves of surrogate pairs, which PostgreSQL refuses, would cost the
 * whole batch; the dead letter has the bytes themselves beside it.
 */
export function storableText(detail: string): string {
  return detail.toWellFormed().replaceAll('\0', '\u{fffd}');
}
