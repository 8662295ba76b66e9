// What the Go linker wrote about the build: Go version, main module, build id. Format: package debug/buildinfo
// (inline strings, since Go 1.18) and the ELF note of `go tool buildid`. Stripping leaves both in place.
import type { ByteView } from './byte-view.ts';
import { type ElfFile, PT_LOAD, PT_NOTE, sectionOffset } from './elf.ts';

/** Start of the blob; a byte for the pointer size (8) and one for flags follow. Aligned to 16 bytes. */
export const BUILD_INFO_MAGIC = Buffer.from('\xff Go buildinf:\x08', 'latin1');

export interface BuildInfo {
  /** As `go version` prints it, experiments included: `go1.24.4 X:noswissmap`. */
  readonly goVersion: string;
  /** Of the main module; of the main package where modules were not used; else ''. */
  readonly modulePath: string;
}

/** Undefined when there is none. `goVersion` is '' for a build before Go 1.18, which stored pointers instead. */
export function readBuildInfo(elf: ElfFile): BuildInfo | undefined {
  const section = sectionOffset(elf, '.go.buildinfo');
  const found = section === undefined ? undefined : infoAt(elf.view, section);
  if (found !== undefined) return found;
  // The linker puts it into writable data. Looking there first also passes by executables embedded as read-only data.
  const loads = elf.segments.filter(({ type }) => type === PT_LOAD);
  for (const writable of [true, false])
    for (const { offset, fileSize } of loads.filter((load) => load.writable === writable))
      for (const at of elf.view.occurrences(BUILD_INFO_MAGIC, offset, fileSize, 16)) {
        const info = infoAt(elf.view, at);
        if (info !== undefined) return info;
      }
  return undefined;
}

/** The Go build id from its ELF note (name `Go`, type 4), or ''. */
export function readBuildId({ view, segments }: ElfFile): string {
  for (const { type, offset, fileSize } of segments) {
    if (type !== PT_NOTE) continue;
    const end = Math.min(offset + Math.min(fileSize, MAX_NOTES_BYTES), view.length);
    for (let at = offset; at + 12 <= end; ) {
      const nameBytes = view.u32(at);
      const idBytes = view.u32(at + 4);
      const id = at + 12 + roundUp(nameBytes, 4);
      if (id + idBytes > end) break;
      if (nameBytes === 4 && view.u32(at + 8) === 4 && view.u32(at + 12) === GO_NOTE_NAME)
        return view.slice(id, Math.min(idBytes, MAX_BUILD_ID_BYTES)).toString('latin1');
      at = id + roundUp(idBytes, 4);
    }
  }
  return '';
}

const INLINE_STRINGS = 2;
const STRINGS_AT = 32;
const GO_NOTE_NAME = 0x6f47; // "Go\0\0"
const MAX_VERSION_BYTES = 256;
const MAX_MODULE_INFO_BYTES = 4 << 20;
const MAX_BUILD_ID_BYTES = 256;
const MAX_NOTES_BYTES = 64 << 10;
/** The module text stands between two 16-byte markers. */
const MARKER_BYTES = 16;

function infoAt(view: ByteView, at: number): BuildInfo | undefined {
  if (at + STRINGS_AT > view.length || view.bytes.indexOf(BUILD_INFO_MAGIC, at) !== at) return undefined;
  if ((view.u8(at + 15) & INLINE_STRINGS) === 0) return { goVersion: '', modulePath: '' };
  const version = stringAt(view, at + STRINGS_AT, MAX_VERSION_BYTES);
  if (version === undefined || !/^(go|devel )/.test(version.text)) return undefined;
  const modules = stringAt(view, version.end, MAX_MODULE_INFO_BYTES)?.text.slice(MARKER_BYTES, -MARKER_BYTES);
  return { goVersion: version.text, modulePath: mainPath(modules ?? '') };
}

/** Lines `mod\t<path>\t<version>…` and `path\t<package>`; `command-line-arguments` is `go build x.go`. */
function mainPath(modules: string): string {
  const path = /^mod\t([^\t\n]*)/m.exec(modules)?.[1] ?? /^path\t([^\t\n]*)/m.exec(modules)?.[1] ?? '';
  return path === 'command-line-arguments' ? '' : path;
}

/** A string behind its length as a varint. */
function stringAt(view: ByteView, at: number, maxBytes: number): { text: string; end: number } | undefined {
  let length = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    if (at >= view.length) return undefined;
    const byte = view.u8(at++);
    length |= (byte & 0x7f) << shift;
    if (byte >= 0x80) continue;
    if (length > maxBytes || at + length > view.length) return undefined;
    return { text: view.bytes.toString('utf8', at, at + length), end: at + length };
  }
  return undefined;
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
