// Address text to network bytes.

/** Writes the address at `at` and returns its length, 4 or 16; 0 when the text is not an address. */
export function writeAddress(text: string, out: Uint8Array, at: number): 0 | 4 | 16 {
  if (!text.includes(':')) return writeIpv4(text, out, at) ? 4 : 0;
  return writeIpv6(text, out, at) ? 16 : 0;
}

function writeIpv4(text: string, out: Uint8Array, at: number): boolean {
  let value = -1;
  let parts = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 46;
    if (code === 46) {
      if (value < 0 || parts === 4) return false;
      out[at + parts++] = value;
      value = -1;
    } else {
      if (code < 48 || code > 57) return false;
      value = value < 0 ? code - 48 : value * 10 + code - 48;
      if (value > 255) return false;
    }
  }
  return parts === 4;
}

function writeIpv6(text: string, out: Uint8Array, at: number): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  const left = groupsOf(halves[0]!);
  const right = halves.length === 2 ? groupsOf(halves[1]!) : [];
  if (left === undefined || right === undefined) return false;
  const written = left.length + right.length;
  if (halves.length === 2 ? written > 7 : written !== 8) return false;
  out.fill(0, at, at + 16);
  for (const [i, group] of left.entries()) put(out, at + 2 * i, group);
  for (const [i, group] of right.entries()) put(out, at + 16 - 2 * (right.length - i), group);
  return true;
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1 && part.includes('.')) {
      const tail = new Uint8Array(4);
      if (!writeIpv4(part, tail, 0)) return undefined;
      groups.push((tail[0]! << 8) | tail[1]!, (tail[2]! << 8) | tail[3]!);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function put(out: Uint8Array, at: number, group: number): void {
  out[at] = group >> 8;
  out[at + 1] = group & 0xff;
}
