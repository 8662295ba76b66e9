// IP addresses between text and the 16 bytes of an IPv6 column (IPv4 mapped into ::ffff:0:0/96). Pure.

/** Undefined when the text is no address; zone ids (`%eth0`) mean something on one host only and are refused. */
export function parseAddress(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  if (!text.includes(':')) {
    if (!writeV4(text, bytes, 12)) return undefined;
    bytes.fill(0xff, 10, 12);
    return bytes;
  }
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const length = head.length + tail.length;
  if (halves.length === 1 ? length !== 8 : length > 7) return undefined;
  const groups = [...head, ...new Array<number>(8 - length).fill(0), ...tail];
  for (const [i, group] of groups.entries()) {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  }
  return bytes;
}

/** Canonical text (RFC 5952; IPv4-mapped as IPv4) of 32 hexadecimal digits. */
export function formatAddress(hex: string): string {
  if (hex.startsWith('00000000000000000000ffff')) {
    const v4 = [24, 26, 28, 30].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
    return v4.join('.');
  }
  const groups = Array.from({ length: 8 }, (_, i) => Number.parseInt(hex.slice(4 * i, 4 * i + 4), 16));
  const { start, length } = longestZeros(groups);
  const words = groups.map((group) => group.toString(16));
  if (length < 2) return words.join(':');
  return `${words.slice(0, start).join(':')}::${words.slice(start + length).join(':')}`;
}

/** The first of the longest runs of zero groups. */
function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

function groupsOf(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (last && i === parts.length - 1 && part.includes('.')) {
      const v4 = new Uint8Array(4);
      if (!writeV4(part, v4, 0)) return undefined;
      groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function writeV4(text: string, bytes: Uint8Array, at: number): boolean {
  const parts = text.split('.');
  if (parts.length !== 4) return false;
  for (const [i, part] of parts.entries()) {
    // Leading zeros are refused: some read them as octal.
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return false;
    bytes[at + i] = Number(part);
  }
  return true;
}
