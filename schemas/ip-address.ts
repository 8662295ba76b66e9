// IP addresses between text and 16 network bytes, IPv4 as ::ffff:0:0/96: the one reading that capture, correlator,
// store and command line share. Pure.

/** Undefined when the text is no address. Zone ids (`%eth0`) mean something on one host only and are refused. */
export function parseAddress(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  if (!text.includes(':')) {
    bytes.fill(0xff, 10, 12);
    return writeIpv4(text, bytes, 12) ? bytes : undefined;
  }
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const length = head.length + tail.length;
  if (halves.length === 1 ? length !== 8 : length > 7) return undefined;
  for (const [i, group] of head.entries()) put(bytes, 2 * i, group);
  for (const [i, group] of tail.entries()) put(bytes, 16 - 2 * (tail.length - i), group);
  return bytes;
}

/** RFC 5952 text of the 16 bytes at `at`, IPv4-mapped ones as IPv4. */
export function formatAddress(bytes: Uint8Array, at = 0): string {
  if (isMapped(bytes, at)) return formatIpv4(bytes, at + 12);
  let zeros = 8; // first of the longest runs of zero groups; a single one is not shortened
  let length = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groupAt(bytes, at, end) === 0) end++;
    if (end - start > length) {
      zeros = start;
      length = end - start;
    }
    start = end;
  }
  let text = '';
  for (let i = 0; i < 8; i++)
    if (i === zeros) {
      text += '::';
      i += length - 1;
    } else text += `${text === '' || text.endsWith(':') ? '' : ':'}${groupAt(bytes, at, i).toString(16)}`;
  return text;
}

/** Of the 4 bytes at `at`. */
export function formatIpv4(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** Whether the 16 bytes at `at` are an IPv4 address. */
export function isMapped(bytes: Uint8Array, at = 0): boolean {
  for (let i = 0; i < 10; i++) if (bytes[at + i] !== 0) return false;
  return bytes[at + 10] === 0xff && bytes[at + 11] === 0xff;
}

/** `10.0.0.7:40522`, `[::1]:80`. */
export function formatEndpoint(address: string, port: number | string): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

const DOT = 46;

function writeIpv4(text: string, bytes: Uint8Array, at: number): boolean {
  let octet = -1;
  let octets = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (octet < 0 || octets === 4) return false;
      bytes[at + octets++] = octet;
      octet = -1;
    } else {
      // Leading zeros are refused: some read them as octal.
      if (code < 48 || code > 57 || octet === 0) return false;
      octet = (octet < 0 ? 0 : 10 * octet) + code - 48;
      if (octet > 255) return false;
    }
  }
  return octets === 4;
}

function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (isEnd && i === parts.length - 1 && part.includes('.')) {
      const ipv4 = new Uint8Array(4);
      if (!writeIpv4(part, ipv4, 0)) return undefined;
      groups.push(groupAt(ipv4, 0, 0), groupAt(ipv4, 0, 1));
    } else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function groupAt(bytes: Uint8Array, at: number, group: number): number {
  return (bytes[at + 2 * group]! << 8) | bytes[at + 2 * group + 1]!;
}

function put(bytes: Uint8Array, at: number, group: number): void {
  bytes[at] = group >> 8;
  bytes[at + 1] = group & 0xff;
}
