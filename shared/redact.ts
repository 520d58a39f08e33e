/** Names whose values are secrets, whatever stands before them: `registryToken`, `x-auth`, `DB_PASSWORD`. */
const secretName =
  /(pass|passwd|password|secret|token|authorization|auth|cookie|secretaccesskey|privatekey)$/i;
/** What is nested deeper says nothing to a reader of logs. */
const maxDepth = 6;

/** Text without what opens something: logins in URLs, and the values of authorization headers. */
function redactText(text: string): string {
  return text
    .replaceAll(/:\/\/[^@/\s]*@/g, '://…@')
    .replaceAll(/\b(Bearer|Basic) +[\w.~+/=-]{6,}/gi, '$1 [secret]');
}

/** A copy of plain data without secrets: under names that are those of secrets, and inside text. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === maxDepth) return '…';
  if (Array.isArray(value)) return value.map((each) => redact(each, depth + 1));
  // An error has its own form, and what is no plain data (a date, a URL) has one too.
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      secretName.test(name) && each !== undefined ? '[secret]' : redact(each, depth + 1),
    ]),
  );
}
