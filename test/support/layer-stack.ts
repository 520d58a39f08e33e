import fc from 'fast-check';
import type { Member } from './layer-tar.ts';
import { ModelTree } from './model-tree.ts';

/** What is drawn; where it goes is decided by what the stack has by then, so that any part can be left out. */
interface Step {
  kind: Kind;
  /** Among the folders, and symlinks to folders, that there are. */
  parent: number;
  /** Among {@link names}. */
  name: number;
  /** Takes an existing path instead. */
  existing: boolean;
  /** Among what there is to link to, delete or rename. */
  other: number;
  form: 'absolute' | 'relative' | 'upwards' | 'dangling';
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
  xattr: Buffer | undefined;
  /** Of a file. */
  capable: boolean;
  content: string;
}

type Kind = Member['type'] | 'delete' | 'opaque' | 'rename' | 'relist' | 'inMissing';

/** Few, so that layers meet; one is not UTF-8, one needs an extended header. */
const names = ['a', 'b', 'c', 'usr', 'lib', 'sp ace', 'caf\xe9', 'x'.repeat(120)];
/** `cap_net_bind_service=ep`, as the kernel has it (vfs_cap_data, revision 2). */
const netBindService = Buffer.from('0100000200040000000000000000000000000000', 'hex');
/** Nanoseconds since 1970. Whatever is newer in a tree was stated by no layer. */
export const newestTime = 1_700_000_000_000_000_000n;
const oldestTime = 1_000_000_000_000_000_000n;

const kind = fc.oneof(
  ...(
    [
      ['file', 6],
      ['folder', 6],
      ['symlink', 5],
      ['link', 4],
      ['char', 1],
      ['block', 1],
      ['fifo', 1],
      ['delete', 5],
      ['opaque', 2],
      ['rename', 2],
      ['relist', 2],
      ['inMissing', 2],
    ] as const
  ).map(([value, weight]) => ({ arbitrary: fc.constant<Kind>(value), weight })),
);
const id = fc.oneof(
  { arbitrary: fc.constant(0), weight: 3 },
  { arbitrary: fc.constantFrom(1, 1000, 65_534, 2_097_151, 3_000_000, 4_294_967_294), weight: 1 },
);
const pick = fc.nat(999);
const step: fc.Arbitrary<Step> = fc.record({
  kind,
  parent: pick,
  name: fc.nat(names.length - 1),
  existing: fc.boolean(),
  other: pick,
  form: fc.constantFrom('absolute', 'relative', 'upwards', 'dangling'),
  mode: fc.constantFrom(0o644, 0o755, 0o600, 0o4755, 0o2755, 0o6711, 0o1777, 0o2750, 0o7777, 0),
  uid: id,
  gid: id,
  mtimeNs: fc.bigInt({ min: oldestTime, max: newestTime }),
  xattr: fc.option(
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    { nil: undefined, freq: 4 },
  ),
  capable: fc.nat(7).map((each) => each === 0),
  content: fc.string({ maxLength: 12 }),
});

/** Stacks of two to six layers, as lists of what their archives have in them. */
export const layerStacks: fc.Arbitrary<Member[][]> = fc
  .array(fc.array(step, { minLength: 1, maxLength: 10, size: 'max' }), {
    minLength: 2,
    maxLength: 6,
    size: 'max',
  })
  .map((layers) => {
    const tree = new ModelTree();
    return layers.map((steps) => {
      tree.beginLayer();
      return steps.flatMap((each) => place(tree, each));
    });
  });

/** The members that a step comes to on top of all that was placed before, none where it has no place. */
function place(tree: ModelTree, step: Step): Member[] {
  const members = propose(tree, step);
  const placed: Member[] = [];
  for (const member of members) {
    if (!tree.admits(member)) break;
    tree.apply(member);
    placed.push(member);
  }
  return placed;
}

function propose(tree: ModelTree, step: Step): Member[] {
  const { other } = step;
  const path = pathFor(tree, step);
  switch (step.kind) {
    case 'delete': {
      const victim = step.existing ? oneOf(tree.names(), other) : path;
      return victim === undefined ? [] : [whiteout(victim)];
    }
    case 'opaque':
      return [{ type: 'file', path: join(oneOf(tree.parents(), other) ?? '', '.wh..wh..opq') }];
    case 'relist': {
      const folder = oneOf(tree.folders(), other);
      return folder === undefined ? [] : [{ ...attributes(step), type: 'folder', path: folder }];
    }
    case 'link': {
      const target = oneOf(tree.linkable(), other);
      return target === undefined ? [] : [linkTo(tree, target, path)];
    }
    case 'rename': {
      // A link keeps the file and is made before the old name goes; anything else is made anew.
      const from = oneOf(tree.linkable(), other);
      if (from === undefined) return [];
      const moved = step.existing
        ? linkTo(tree, from, path)
        : { ...attributes(step), type: 'file' as const, path, content: step.content };
      return [moved, whiteout(from)];
    }
    case 'inMissing': {
      // A folder that no layer lists.
      const name = names[(step.name + 1) % names.length] ?? '';
      return [{ ...attributes(step), type: 'file', path: join(path, name), content: step.content }];
    }
    case 'symlink':
      return [{ ...attributes(step), type: 'symlink', path, target: targetFor(tree, step, path) }];
    case 'char':
    case 'block':
      return [
        { ...attributes(step), type: step.kind, path, device: { major: 1 + other, minor: other } },
      ];
    default:
      return [{ ...attributes(step), type: step.kind, path, content: step.content }];
  }
}

function attributes({ kind, mode, uid, gid, mtimeNs, xattr, capable }: Step) {
  // Linux has user.* on files and folders only.
  const isPlain = kind === 'file' || kind === 'folder' || kind === 'relist';
  const xattrs = {
    ...(xattr === undefined ? {} : { [isPlain ? 'user.dray.test' : 'security.dray.test']: xattr }),
    ...(xattr?.[0] === 7 ? { 'trusted.dray.test': xattr } : {}),
    ...(capable && kind === 'file' ? { 'security.capability': netBindService } : {}),
  };
  return { mode, uid, gid, mtimeNs, xattrs };
}

/** As archives have it, the header repeats what is known of the file. */
function linkTo(tree: ModelTree, target: string, path: string): Member {
  const { xattrs: _, content: _content, device: _device, ...known } = tree.memberAt(target);
  return { ...known, type: 'link', path, target };
}

function pathFor(tree: ModelTree, { parent, name, existing, other }: Step): string {
  const found = existing ? oneOf(tree.names(), other) : undefined;
  if (found !== undefined) return found;
  return join(oneOf(tree.parents(), parent) ?? '', names[name] ?? '');
}

function targetFor(tree: ModelTree, { form, other, name }: Step, path: string): string {
  const target = oneOf([...tree.folders(), ...tree.folders(), ...tree.names()], other) ?? '';
  // containerd takes an absolute symlink that leads to the root by another one for a circle.
  if (target === '' && form !== 'dangling') return '..';
  switch (form) {
    case 'absolute':
      return `/${target}`;
    case 'relative':
      return `${'../'.repeat(path.split('/').length - 1)}${target}`;
    case 'upwards':
      return `../../../../../..//${target}`;
    case 'dangling':
      return names[name] ?? '';
  }
}

function whiteout(path: string): Member {
  const slash = path.lastIndexOf('/') + 1;
  return { type: 'file', path: `${path.slice(0, slash)}.wh.${path.slice(slash)}` };
}

function oneOf(list: readonly string[], choice: number): string | undefined {
  return list[choice % list.length];
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

/** For messages: one line a member. */
export function showStack(stack: readonly Member[][]): string {
  const line = ({ type, path, target, mode = 0, mtimeNs, ...rest }: Member) =>
    `  ${type} ${JSON.stringify(path)}${target === undefined ? '' : ` -> ${JSON.stringify(target)}`} ${mode.toString(8)} ${mtimeNs ?? ''} ${JSON.stringify(rest)}`;
  return stack.flatMap((members, index) => [`layer ${index + 1}`, ...members.map(line)]).join('\n');
}
