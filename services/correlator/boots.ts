// The boots that the join remembers: as many as allowed, those heard of last.
import { BootState } from './boot-state.ts';

export class Boots {
  private readonly most: number;
  private readonly onDrop: (boot: BootState) => void;
  private readonly byName = new Map<string, BootState>();

  constructor(most: number, onDrop: (boot: BootState) => void) {
    this.most = most;
    this.onDrop = onDrop;
  }

  get size(): number {
    return this.byName.size;
  }

  get all(): BootState[] {
    return [...this.byName.values()];
  }

  find(host: string, boot: string): BootState | undefined {
    return this.byName.get(bootKey(host, boot));
  }

  /** The one that a batch at stream position `seq` comes from; for a new one the quietest may have to go. */
  hear(host: string, name: string, seq: number): BootState {
    let boot = this.find(host, name);
    if (boot === undefined) {
      if (this.byName.size >= this.most) this.drop(this.quietest());
      boot = this.add(host, name);
    }
    boot.heardSeq = seq;
    boot.silentSinceNs = undefined;
    return boot;
  }

  add(host: string, name: string): BootState {
    const boot = new BootState(host, name);
    this.byName.set(bootKey(host, name), boot);
    return boot;
  }

  /** Drops those that sent nothing for longer than `silentNs`, by the clock of who calls at intervals. */
  dropSilent(nowNs: bigint, silentNs: bigint): void {
    for (const boot of this.byName.values()) {
      if (boot.silentSinceNs === undefined) boot.silentSinceNs = nowNs;
      else if (nowNs - boot.silentSinceNs > silentNs) this.drop(boot);
    }
  }

  private quietest(): BootState {
    return this.all.reduce((quietest, boot) => (boot.heardSeq < quietest.heardSeq ? boot : quietest));
  }

  private drop(boot: BootState): void {
    this.byName.delete(bootKey(boot.host, boot.boot));
    this.onDrop(boot);
  }
}

/** One string for a boot of a host. */
export function bootKey(host: string, boot: string): string {
  return `${host}\0${boot}`;
}
