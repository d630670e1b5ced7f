/** Text into markup: nothing that anybody measured or typed can become an element, an attribute or an entity. */

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** For text and for quoted attributes, in HTML and XML; characters that XML cannot hold are left out. */
export function escapeMarkup(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what XML 1.0 forbids
  const allowed = text.toWellFormed().replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '');
  return allowed.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!);
}
