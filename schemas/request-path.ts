// A request's path as events and rows carry it: at most 256 bytes, and an ellipsis where it was cut. Pure.

/** PATH_MAX_BYTES in bpf/events.h. */
export const PATH_MAX_BYTES = 256;
export const CUT_MARK = '…';

/** What is stored of a path: what to look for when somebody names the whole of a long one. */
export function storedPath(path: string): string {
  const bytes = Buffer.from(path);
  return bytes.length <= PATH_MAX_BYTES ? path : bytes.toString('utf8', 0, PATH_MAX_BYTES) + CUT_MARK;
}
