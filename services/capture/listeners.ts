// The ports that are listened on in a network namespace: what tells inbound connections from outbound ones when
// they are older than capture. Later listeners are seen by the kernel hooks.
import { closeSync, openSync, readSync, statSync } from 'node:fs';

const LISTEN = '0A'; // TCP_LISTEN in /proc/net/tcp (proc(5))
const MAX_NAMESPACES = 4096;
const CHUNK_BYTES = 64 << 10;

export class Listeners {
  private readonly known = new Set<number>();
  private readonly add: (netns: number, port: number) => void;

  /** `add` gets each port, then port 0: the namespace is complete. */
  constructor(add: (netns: number, port: number) => void) {
    this.add = add;
  }

  /** Looks once at the namespace of a process. Synchronous: before the process's sends are looked at. */
  learn(pid: number): void {
    try {
      const netns = statSync(`/proc/${pid}/ns/net`).ino;
      if (this.known.has(netns)) return;
      for (const family of ['tcp', 'tcp6'])
        for (const port of readListening(`/proc/${pid}/net/${family}`)) this.add(netns, port);
      this.add(netns, 0);
      if (this.known.size >= MAX_NAMESPACES) this.known.clear(); // looked at again, at worst
      this.known.add(netns);
    } catch {
      // The process is gone, or not ours to look at: uses of its older connections stay unseen.
    }
  }
}

/** Listening sockets come first in the file: the connections after them, maybe a million, are not read. */
function readListening(path: string): number[] {
  const file = openSync(path, 'r');
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  try {
    let text = '';
    for (;;) {
      const bytes = readSync(file, chunk, 0, chunk.length, null);
      text += chunk.toString('latin1', 0, bytes);
      const lines = text.slice(0, text.lastIndexOf('\n') + 1);
      if (bytes === 0 || hasConnection(lines)) return listeningPorts(lines);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // no IPv6 there
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Local ports of the listening sockets in the text of /proc/net/tcp or tcp6. */
export function listeningPorts(text: string): number[] {
  return rows(text)
    .filter(([, , , state]) => state === LISTEN)
    .map(([, local]) => Number.parseInt(local!.slice(local!.lastIndexOf(':') + 1), 16));
}

function hasConnection(text: string): boolean {
  return rows(text).some(([, , , state]) => state !== LISTEN);
}

/** `sl local_address rem_address st …`, without the header. */
function rows(text: string): string[][] {
  return text
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => line.trim().split(/\s+/));
}
