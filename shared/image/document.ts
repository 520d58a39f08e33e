import type { z } from 'zod';
import type { DrayError } from '../errors.ts';

const maxDepth = 32;

/** What is wrong with a document becomes the error of its kind. */
export type Invalid = (why: string, cause?: unknown) => DrayError;

/** The JSON object that bytes from a registry are. @throws what `invalid` makes of anything else, or of deep nesting */
export function parseDocument(bytes: Uint8Array, invalid: Invalid): Record<string, unknown> {
  let document: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (depthOf(text) > maxDepth) throw new Error(`nested deeper than ${maxDepth}`);
    document = JSON.parse(text);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : 'not JSON', error);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw invalid('it is not a JSON object');
  }
  return document as Record<string, unknown>;
}

/** A document as its schema has it. @throws what `invalid` makes of the first thing that is not so */
export function checkDocument<T>(schema: z.ZodType<T>, document: object, invalid: Invalid): T {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`);
}

/** The nesting of a JSON text, counted without building anything. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (c === 0x7d || c === 0x5d) depth--;
  }
  return deepest;
}
