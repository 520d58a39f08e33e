import { readFileSync } from 'node:fs';
import { libc } from './libc.ts';

const cSyscall = libc.func('long syscall(long number)');
/** Marks a system call as one of x32 (asm/unistd.h). */
const x32 = 0x40000000;
/** The same in both. */
const getpid = 39;

let taken: boolean | undefined;

/**
 * Whether the kernel takes system calls of x32, which is x86-64 with pointers of 32 bits: most are built or started
 * without it. Where this process has a filter, which may kill who asks, the answer is yes.
 */
export function takesX32(): boolean {
  taken ??= process.arch === 'x64' && (isFiltered() || Number(cSyscall(x32 + getpid)) > 0);
  return taken;
}

function isFiltered(): boolean {
  return !/^Seccomp:\s*0$/m.test(readFileSync('/proc/self/status', 'utf8'));
}
