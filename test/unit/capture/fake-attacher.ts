// The kernel's side of attaching, remembered instead of done, and a Go program to attach to.
import type { UprobeAttacher } from '../../../services/capture/executables.ts';
import type { GoBinary } from '../../../services/capture/go/read-go-binary.ts';
import type { BpfLink, UprobeSites } from '../../../services/capture/libbpf.ts';

export class FakeAttacher implements UprobeAttacher {
  /** Everything in order. */
  readonly calls: string[] = [];
  /** What is attached now. */
  readonly attached = new Set<UprobeSites>();
  failWith: Error | undefined;

  get paths(): string[] {
    return [...this.attached].map(({ path }) => path);
  }

  sitesOf(path: string): UprobeSites {
    return [...this.attached].find((sites) => sites.path === path)!;
  }

  /** By executable. */
  readonly hitCounts = new Map<number, number[]>();

  setBinary(index: number, _: unknown, instrumented = true): void {
    this.calls.push(`binary ${index}${instrumented ? '' : ' not instrumented'}`);
  }

  hits(index: number): number[] {
    return this.hitCounts.get(index) ?? [0, 0];
  }

  attachUprobes(sites: UprobeSites): BpfLink {
    if (this.failWith) throw this.failWith;
    this.calls.push(`attach ${sites.path} ${sites.offsets.join()}`);
    this.attached.add(sites);
    return {
      detach: async () => {
        this.attached.delete(sites);
      },
    };
  }
}

export function goBinary(): GoBinary {
  const site = { function: 'f', fileOffset: 0n, guarded: false };
  return {
    goVersion: 'go1.19.8',
    modulePath: 'example.com/app',
    notAttachable: [],
    fallbacks: [],
    symbols: { inlineTrees: 0 },
    channels: { sites: [], reason: '' },
    sites: [
      { ...site, hook: 'goroutine_start', fileOffset: 30n },
      { ...site, hook: 'serve_end', fileOffset: 10n },
      { ...site, hook: 'request_end', fileOffset: 20n },
      { ...site, hook: 'request_start', fileOffset: 40n, guarded: true },
    ],
  } as unknown as GoBinary;
}
