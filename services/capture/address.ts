// Addresses as Go writes them. Pure.

/** Splits Go's `host:port` or `[host%zone]:port`; the text as it is and port 0 when it is neither. */
export function splitHostPort(text: string): { address: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  return match && port <= 65_535 ? { address: match[1] ?? match[2]!, port } : { address: text, port: 0 };
}
