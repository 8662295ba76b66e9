// Runs a command whose system calls pass a filter: `node --import tsx test/support/forbid.ts <number>... -- <command>`.
// What it forbids fails with EPERM, as under a container's or a service manager's filter.
import { spawnSync } from 'node:child_process';
import koffi from 'koffi';

/** linux/prctl.h, linux/seccomp.h, linux/filter.h */
const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;

const separator = process.argv.indexOf('--');
const numbers = process.argv.slice(2, separator).map(Number);
const [file, ...args] = process.argv.slice(separator + 1);
forbid(numbers);
const { status } = spawnSync(file!, args, { stdio: 'inherit' });
process.exit(status ?? 1);

/** In this thread, and in every process that it starts. */
function forbid(forbidden: readonly number[]): void {
  const filter = Buffer.concat([
    instruction(LOAD_WORD, 0), // the call's number, first in struct seccomp_data
    ...forbidden.flatMap((number) => [instruction(JUMP_IF_EQUAL, number, 1), instruction(RETURN, EPERM)]),
    instruction(RETURN, ALLOW),
  ]);
  const program = Buffer.alloc(16); // struct sock_fprog: length, address
  program.writeUInt16LE(filter.length / 8, 0);
  program.writeBigUInt64LE(koffi.address(filter), 8);
  const prctl = koffi.load('libc.so.6').func('int prctl(int, ulong, ulong, ulong, ulong)');
  const refused =
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, koffi.address(program), 0, 0);
  if (refused !== 0) throw new Error('the kernel takes no filter');
}

/** `otherwise`: how many instructions to skip where a comparison fails. */
function instruction(code: number, value: number, otherwise = 0): Buffer {
  const bytes = Buffer.alloc(8); // struct sock_filter
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(otherwise, 3);
  bytes.writeUInt32LE(value, 4);
  return bytes;
}
