// What the kernel holds of BPF, asked of the kernel itself (bpf(2)), not of the code under test.
import koffi from 'koffi';

const lib = koffi.load('libbpf.so.1');
const nextLink = lib.func('int bpf_link_get_next_id(uint32_t start, _Out_ uint32_t *next)');
const nextProgram = lib.func('int bpf_prog_get_next_id(uint32_t start, _Out_ uint32_t *next)');
const programById = lib.func('int bpf_prog_get_fd_by_id(uint32_t id)');
const infoByFd = lib.func('int bpf_obj_get_info_by_fd(int fd, _Inout_ void *info, _Inout_ uint32_t *length)');
const close = koffi.load('libc.so.6').func('int close(int fd)');

/** Ids of all attached links of this machine. */
export function bpfLinks(): number[] {
  return ids(nextLink);
}

export interface BpfProgramInfo {
  readonly id: number;
  readonly name: string;
  /** Instructions that the verifier processed to accept it (Linux 5.16). */
  readonly verifiedInstructions: number;
}

export function bpfPrograms(): BpfProgramInfo[] {
  return ids(nextProgram).flatMap((id) => {
    const fd = programById(id) as number;
    if (fd < 0) return []; // gone meanwhile
    const info = Buffer.alloc(232); // struct bpf_prog_info, linux/bpf.h
    const result = infoByFd(fd, info, [info.length]) as number;
    close(fd);
    if (result < 0) return [];
    const name = info.toString('latin1', 64, 80).replace(/\0.*/s, '');
    return [{ id, name, verifiedInstructions: info.readUInt32LE(216) }];
  });
}

function ids(next: (start: number, out: number[]) => number): number[] {
  const found: number[] = [];
  const out = [0];
  for (let id = 0; next(id, out) === 0; id = out[0]!) found.push(out[0]!);
  return found;
}
