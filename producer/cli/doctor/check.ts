export type CheckState = 'ok' | 'warning' | 'failed' | 'skipped';

/** What was found, and what to do where it is not as it should be. */
export interface CheckResult {
  name: string;
  state: CheckState;
  found: string;
  hint?: string;
}

export type Outcome = Omit<CheckResult, 'name'>;

/** Something that is looked at; whatever it throws is what is wrong. */
export interface Check {
  name: string;
  look: () => Promise<Outcome>;
}

export const ok = (found: string): Outcome => ({ state: 'ok', found });
export const warning = (found: string, hint: string): Outcome => ({
  state: 'warning',
  found,
  hint,
});
export const failed = (found: string, hint: string): Outcome => ({ state: 'failed', found, hint });
export const skipped = (found: string): Outcome => ({ state: 'skipped', found });
