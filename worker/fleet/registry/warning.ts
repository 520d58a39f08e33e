import type { IncomingHttpHeaders } from 'node:http';
import { printable } from './printable.ts';

/** Bytes of warnings in one answer at most (distribution-spec, "Warnings"). */
const maxBytes = 4096;
const form = /^299 - "((?:[^"\\]|\\.)*)"$/;

/** What a registry tells the people behind a request: `Warning: 299 - "…"`. Other warnings are none of its. */
export function warningsOf(headers: IncomingHttpHeaders): string[] {
  const text = [headers.warning ?? []].flat().join(', ');
  if (text === '' || text.length > maxBytes) return [];
  return text.split(/,\s*(?=\d{3} )/).flatMap((one) => {
    const words = form.exec(one.trim())?.[1]?.replaceAll(/\\(.)/g, '$1');
    return words === undefined || words.trim() === '' ? [] : [printable(words)];
  });
}
