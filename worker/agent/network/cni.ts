import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';
import { runProgram } from '../linux/run-program.ts';
import { systemPath } from '../linux/spawn.ts';

/** Of the CNI specification whose words are used here. */
const cniVersion = '1.0.0';
/** Milliseconds for one plugin; those that wait for iptables' lock take seconds on a busy node. */
const pluginBound = 60_000;
const maxAnswerBytes = 1024 * 1024;

/** The configuration of one plugin (CNI specification, section 1: plugin configuration objects). */
export interface PluginConfig {
  type: string;
  /** What the plugin takes from {@link Attachment.capabilities}. */
  capabilities?: Record<string, true>;
  [key: string]: unknown;
}

/** Plugins that are called one after the other, each with the result of the one before. */
export interface NetworkList {
  name: string;
  plugins: PluginConfig[];
}

/** What one container's interface is made of: the same for ADD and for DEL. */
export interface Attachment {
  containerID: string;
  /** A file that is the network namespace; empty for a DEL of one that is gone. */
  netns: string;
  interfaceName: string;
  /** Folders of the plugins' programs. */
  path: readonly string[];
  capabilities: Record<string, unknown>;
}

/** Of a plugin's answer what is needed here (section 5: result types). */
export interface CniResult {
  ips?: { address: string; gateway?: string }[];
  [key: string]: unknown;
}

/**
 * ADD of all plugins in order. When one fails, all are asked to DEL, in the reverse order.
 * @throws RUNTIME_FAILED with what the plugin said, TOOL_MISSING
 */
export async function addNetwork(list: NetworkList, attachment: Attachment): Promise<CniResult> {
  let result: CniResult | undefined;
  for (const plugin of list.plugins) {
    try {
      const answer = await call('ADD', list, plugin, attachment, result);
      result = JSON.parse(answer) as CniResult;
    } catch (error) {
      await deleteNetwork(list, attachment, result).catch(() => {});
      throw error;
    }
  }
  return result ?? {};
}

/**
 * DEL of all plugins in the reverse order. What is not there is success (section 2: DEL).
 * @param result what ADD gave, where it is known
 * @throws RUNTIME_FAILED with what the first plugin that failed said; the others had their turn
 */
export async function deleteNetwork(
  list: NetworkList,
  attachment: Attachment,
  result: CniResult | undefined,
): Promise<void> {
  const failures: unknown[] = [];
  for (const plugin of list.plugins.toReversed()) {
    await call('DEL', list, plugin, attachment, result).catch((error: unknown) =>
      failures.push(error),
    );
  }
  if (failures.length > 0) throw failures[0];
}

/** The program of a plugin. @throws TOOL_MISSING */
export async function findPlugin(type: string, path: readonly string[]): Promise<string> {
  for (const folder of path) {
    const program = join(folder, type);
    try {
      await access(program, constants.X_OK);
      return program;
    } catch {
      // The next folder may have it.
    }
  }
  throw new DrayError('TOOL_MISSING', `The network plugin ${type} is not installed on this node`, {
    hint: 'Install it: apt-get install containernetworking-plugins',
    context: { tool: type },
  });
}

async function call(
  command: 'ADD' | 'DEL',
  list: NetworkList,
  plugin: PluginConfig,
  attachment: Attachment,
  prevResult: CniResult | undefined,
): Promise<string> {
  const program = await findPlugin(plugin.type, attachment.path);
  const wanted = Object.keys(plugin.capabilities ?? {});
  const runtimeConfig = Object.fromEntries(
    Object.entries(attachment.capabilities).filter(([name]) => wanted.includes(name)),
  );
  const config = {
    cniVersion,
    name: list.name,
    ...plugin,
    ...(wanted.length === 0 ? {} : { runtimeConfig }),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
  const { exitCode, stdout, stderr, isTimedOut } = await runProgram(program, [], {
    input: JSON.stringify(config),
    env: {
      PATH: systemPath,
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.containerID,
      CNI_NETNS: attachment.netns,
      CNI_IFNAME: attachment.interfaceName,
      CNI_PATH: attachment.path.join(':'),
    },
    timeout: pluginBound,
    maxBytes: maxAnswerBytes,
  });
  if (exitCode === 0) return stdout;
  const how = isTimedOut ? `it took longer than ${pluginBound / 1000} s` : `exit code ${exitCode}`;
  const why = messageIn(stdout) ?? (stderr.trim() || how);
  throw new DrayError(
    'RUNTIME_FAILED',
    `The network plugin ${plugin.type} failed to ${command}: ${why.slice(0, 1000)}`,
    { context: { exitCode: 125 } },
  );
}

/** What a plugin says of its failure (section 5: error). */
function messageIn(stdout: string): string | undefined {
  try {
    const { msg, details } = JSON.parse(stdout) as { msg?: string; details?: string };
    return [msg, details].filter((part) => part !== undefined && part !== '').join(': ');
  } catch {
    return undefined;
  }
}
