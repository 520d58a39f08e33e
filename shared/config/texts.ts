import { networkModes } from '../agent/run-options.ts';
import { logLevels } from './config.ts';

export const nodeNameForm = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

const isAny = () => true;
const isAbsolutePath = (text: string) => text.startsWith('/');
const isOneOf = (words: readonly string[]) => (text: string) => words.includes(text);

/** The settings that are often the only ones, and what the schema lets them be. */
const texts = new Map<string, (text: string) => boolean>(
  Object.entries({
    stateDirectory: isAbsolutePath,
    'redis.url': isAny,
    'redis.passwordFile': isAbsolutePath,
    'redis.tls.ca': isAbsolutePath,
    store: isAny,
    's3.region': isAny,
    'agent.node': (text: string) => nodeNameForm.test(text),
    'agent.root': isAbsolutePath,
    'agent.socket': isAbsolutePath,
    'agent.network.default': isOneOf(networkModes),
    'log.level': isOneOf(logLevels),
  }),
);

/** Whether settings are right as they are for sure, without the schema: people wait for a command, and it takes 50 ms. */
export function areRightTexts(settings: unknown, at: readonly string[] = []): boolean {
  if (typeof settings === 'string') return texts.get(at.join('.'))?.(settings) ?? false;
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) return false;
  const entries = Object.entries(settings);
  // An empty section may be of a wrong name.
  if (entries.length === 0) return at.length === 0;
  return entries.every(([name, value]) => areRightTexts(value, [...at, name]));
}
