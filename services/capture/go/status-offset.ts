// Where net/http.response keeps the status, read from the code that stores it: 120 in builds up to Go 1.26.10, 128
// in 1.27.3. A security fix that adds a field before it would move it within a minor, and a table would not notice.
import { type GoFunction, type GoFunctions, instructionsOf, storeDisplacement } from './program.ts';

export const STATUS_FUNCTION = 'net/http.(*response).WriteHeader';

/** Undefined when the function is missing or stores to neither place: then the table of offsets.ts holds. */
export function findStatusOffset(functions: GoFunctions): number | undefined {
  for (const fn of functions.get(STATUS_FUNCTION) ?? []) {
    const stored = storedOffsets(fn);
    // The field before it is the content length, which the same function stores: the later one is the status.
    const offset = KNOWN_OFFSETS.findLast((known) => stored.has(known));
    if (offset !== undefined) return offset;
  }
  return undefined;
}

/** Seen in Go 1.19 to 1.27. */
const KNOWN_OFFSETS = [120, 128];

function storedOffsets(fn: GoFunction): ReadonlySet<number> {
  const offsets = new Set<number>();
  for (const instruction of instructionsOf(fn)) {
    const offset = storeDisplacement(fn, instruction);
    if (offset !== undefined) offsets.add(offset);
  }
  return offsets;
}
