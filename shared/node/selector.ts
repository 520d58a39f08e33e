import { DrayError } from '../errors.ts';
import { type Labels, labelKey, labelValue } from './labels.ts';

/** One condition on a node's labels. */
export interface Requirement {
  key: string;
  /** `in` with one value is written `=`, `not-in` with one `!=`. */
  operator: 'in' | 'not-in' | 'exists' | 'absent';
  values: string[];
}

/** Characters of a selector at most. */
const maxLength = 4_096;

/**
 * Reads a selector, in Kubernetes' grammar: conditions that must all hold, separated by commas. `zone=a` (or `==`),
 * `gpu!=none`, `zone in (a,b)`, `zone notin (a,b)`, `gpu`, `!gpu`. A node without the label fulfils `!=` and `notin`.
 * The empty text selects every node.
 * @throws USAGE saying where it is wrong
 */
export function parseSelector(text: string): Requirement[] {
  if (text.length > maxLength) {
    throw new DrayError('USAGE', `The selector has more than ${maxLength} characters`);
  }
  if (text.trim() === '') return [];
  return splitConditions(text).map((condition) => parseCondition(condition.trim(), text));
}

/** Whether labels fulfil all conditions. */
export function matches(selector: readonly Requirement[], labels: Labels): boolean {
  return selector.every((requirement) => fulfils(labels, requirement));
}

function fulfils(labels: Labels, { key, operator, values }: Requirement): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'in':
      return value !== undefined && values.includes(value);
    case 'not-in':
      return value === undefined || !values.includes(value);
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
  }
}

/** The text that {@link parseSelector} reads back to the same conditions. */
export function formatSelector(selector: readonly Requirement[]): string {
  return selector
    .map(({ key, operator, values }) => {
      const [only = ''] = values;
      if (operator === 'exists') return key;
      if (operator === 'absent') return `!${key}`;
      if (values.length === 1) return `${key}${operator === 'in' ? '=' : '!='}${only}`;
      return `${key} ${operator === 'in' ? 'in' : 'notin'} (${values.join(',')})`;
    })
    .join(',');
}

/** Commas inside parentheses separate values, those outside conditions. */
function splitConditions(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}

function parseCondition(condition: string, selector: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(condition);
  if (set !== null) {
    const [, key = '', word, list = ''] = set;
    const values = list.split(',').map((value) => value.trim());
    return checked({ key, operator: word === 'in' ? 'in' : 'not-in', values }, condition, selector);
  }
  const equal = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(condition);
  if (equal !== null) {
    const [, key = '', sign, value = ''] = equal;
    const operator = sign === '!=' ? 'not-in' : 'in';
    return checked({ key, operator, values: [value] }, condition, selector);
  }
  const absent = condition.startsWith('!');
  const key = absent ? condition.slice(1).trim() : condition;
  return checked({ key, operator: absent ? 'absent' : 'exists', values: [] }, condition, selector);
}

function checked(requirement: Requirement, condition: string, selector: string): Requirement {
  const { key, values } = requirement;
  if (labelKey.test(key) && values.every((value) => labelValue.test(value))) return requirement;
  throw new DrayError('USAGE', `"${condition}" in the selector "${selector}" is no condition`, {
    hint: 'Write zone=a, gpu!=none, zone in (a,b), zone notin (a,b), gpu or !gpu, separated by commas.',
  });
}
