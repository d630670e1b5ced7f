/**
 * The incidents as an Atom feed. Ids are those of the incidents, so that a reader shows each once, wherever it is
 * read from. Source: RFC 4287.
 */

import { escapeMarkup } from './escape.ts';
import type { Incident } from './incidents.ts';
import type { StatusModel } from './model.ts';
import { moment } from './words.ts';

export const FEED_PATH = '/incidents.atom';
const FEED_TITLE = 'market-data-pipeline: incidents';

export function atomFeed(model: StatusModel, origin: string): string {
  const home = escapeMarkup(origin);
  const updatedMs = Math.max(model.bornMs, ...model.incidents.map(lastChangeMs));
  return `<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">
<title>${escapeMarkup(FEED_TITLE)}</title>
<id>${home}${FEED_PATH}</id>
<updated>${iso(updatedMs)}</updated>
<author><name>market-data-pipeline</name></author>
<link rel="self" type="application/atom+xml" href="${home}${FEED_PATH}"/>
<link rel="alternate" type="text/html" href="${home}/"/>
${model.incidents.map((incident) => entry(incident, home)).join('')}</feed>
`;
}

function entry(incident: Incident, home: string): string {
  const { id, startedMs, endedMs } = incident;
  const lines = incident.updates.map(({ atMs, status, text }) => `${moment(atMs)}, ${status}: ${text}.`);
  const span = `${moment(startedMs)} to ${endedMs === null ? 'now' : moment(endedMs)}`;
  const html = [span, ...lines.toReversed()].map((line) => `<p>${escapeMarkup(line)}</p>`).join('');
  return `<entry>
<title>${escapeMarkup(incidentTitle(incident))}</title>
<id>urn:uuid:${escapeMarkup(id)}</id>
<published>${iso(startedMs)}</published>
<updated>${iso(lastChangeMs(incident))}</updated>
<link rel="alternate" type="text/html" href="${home}/#incident-${escapeMarkup(id)}"/>
<category term="${incident.status}"/>
<content type="html">${escapeMarkup(html)}</content>
</entry>
`;
}

export function incidentTitle({ componentName, cause }: Incident): string {
  return `${componentName}: ${cause}`;
}

function lastChangeMs(incident: Incident): number {
  return incident.updates.at(-1)?.atMs ?? incident.startedMs;
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
