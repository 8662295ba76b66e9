// Children and whatever else was acquired, given back in reverse order: who feeds stops before who is fed.
import { type ChildEvents, type ChildSpec, SupervisedChild } from './supervised-child.ts';

export class ProcessTree {
  private readonly prefix: readonly string[];
  private readonly events: ChildEvents;
  private readonly children: SupervisedChild[] = [];
  private readonly releases: (() => void | Promise<void>)[] = [];
  private readonly onSlow: (name: string) => void;

  /** `onSlow`: a child did not stop in time and was killed. */
  constructor(prefix: readonly string[], events: ChildEvents, onSlow: (name: string) => void) {
    this.prefix = prefix;
    this.events = events;
    this.onSlow = onSlow;
  }

  start(spec: ChildSpec): SupervisedChild {
    const child = new SupervisedChild(spec, this.prefix, this.events);
    this.children.push(child);
    this.defer(async () => {
      if (!(await child.stop())) this.onSlow(child.name);
    });
    return child;
  }

  /** Runs `release` when everything acquired later has been given back. */
  defer(release: () => void | Promise<void>): void {
    this.releases.push(release);
  }

  async stop(): Promise<void> {
    for (let release = this.releases.pop(); release; release = this.releases.pop()) await release();
  }

  /** Everything at once; a `stop` that is under way then ends soon. */
  kill(): void {
    for (const child of this.children) child.kill();
  }
}
