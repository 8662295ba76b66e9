// Where in a function a probe can sit, and whether it is passed there. The kernel emulates a conditional jump and a
// call: a hit there costs about 1 µs, on other instructions (single-stepped out of line) about 15 µs more.
import {
  branchesTo,
  type GoFunction,
  type GoFunctions,
  instructionsOf,
  isDecodable,
  returnsOf,
  stackCheckBranch,
  storeDisplacement,
} from './program.ts';
import { emulatedAfter } from './x86-result.ts';

export interface Place {
  /** Of the instruction, in the file: what uprobes take, whatever address the program is loaded at. */
  readonly fileOffset: bigint;
  readonly functionName: string;
  /** On the stack check's `jbe`: skip the hit when the flags CF or ZF say that the branch is about to be taken. */
  readonly guarded: boolean;
}

export interface Missing {
  readonly functionName: string;
  readonly reason: string;
  /** The program does not contain it at all. */
  readonly isAbsent: boolean;
}

export interface PlaceSearch {
  /** All that `run` looks at. */
  readonly functionNames: readonly string[];
  /** For the user, after the name of a hook. */
  readonly where: string;
  run(functions: GoFunctions, goidOffset: number): readonly Place[] | Missing;
}

export const INLINED = ' (inlined there, as profile-guided builds do)';

export function isMissing(found: readonly Place[] | Missing): found is Missing {
  return 'reason' in found;
}

/** On the call of `callee` in `name`, which is called always: arguments are in registers there. */
export function atCallOf(callee: string, name: string): PlaceSearch {
  return {
    functionNames: [name, callee],
    where: `seen at the call of ${callee} in ${name}`,
    run(functions) {
      const places = named(functions, name).flatMap((fn) =>
        named(functions, callee).flatMap((target) => branchesTo(fn, target).map((at) => placeAt(fn, at))),
      );
      return places.length > 0 ? places : missing(name, `has no call of ${callee}${INLINED}`);
    },
  };
}

/**
 * On the stack check of `name`, when control comes there by calls from the first of `path`, which is not inlined
 * itself; those between may be inlined into the ones before them. `ownCallee` is called by nothing but `name`: where
 * another function calls it, `name` is inlined there, perhaps at one of several calls.
 */
export function atStackCheckOf(name: string, path: readonly string[], ownCallee?: string): PlaceSearch {
  return {
    functionNames: [...path, name, ...(ownCallee === undefined ? [] : [ownCallee])],
    where: `seen at ${name}`,
    run(functions) {
      const fns = named(functions, name);
      if (fns.length === 0) return absent(name);
      const places = stackChecksOf(fns);
      if (places === undefined) return missing(name, NO_STACK_CHECK);
      const inliner = path.find((caller) => ownCallee !== undefined && calls(functions, caller, ownCallee));
      if (inliner !== undefined) return missing(name, `is inlined into ${inliner}`);
      return notReached(functions, name, path) ?? places;
    },
  };
}

/** On the stack check of `name`, a function that `by` defers: the compiler never inlines those. */
export function atStackCheckOfDeferred(name: string, by: string): PlaceSearch {
  return {
    functionNames: [name, by],
    where: `seen at ${name}`,
    run(functions) {
      const fns = named(functions, name);
      if (fns.length === 0) return absent(name);
      if (!named(functions, by).some(({ defers }) => defers)) return missing(by, 'does not defer');
      return stackChecksOf(fns) ?? missing(name, NO_STACK_CHECK);
    },
  };
}

/** Before each return of `name`: its result is in a register there. */
export function atReturnsOf(name: string, path: readonly string[]): PlaceSearch {
  return {
    functionNames: [...path, name],
    where: `seen at the returns of ${name}, about 15 µs dearer each time`,
    run(functions) {
      const fns = named(functions, name);
      if (fns.length === 0) return absent(name);
      if (!fns.every(isDecodable)) return missing(name, 'has instructions that are not understood');
      const places = fns.flatMap((fn) => returnsOf(fn).map((at) => placeAt(fn, at)));
      if (places.length === 0) return missing(name, 'does not return');
      return notReached(functions, name, path) ?? places;
    },
  };
}

/** Just after `callee` returned to `name`, which is called always: its result is in a register. */
export function atReturnTo(name: string, callee: string): PlaceSearch {
  return {
    functionNames: [name, callee],
    where: `seen where ${callee} returns to ${name}`,
    run(functions) {
      const calls = named(functions, name).flatMap((fn) =>
        named(functions, callee).flatMap((to) => branchesTo(fn, to).map((call) => ({ fn, call }))),
      );
      const places = calls.map(({ fn, call }) => ({ fn, at: emulatedAfter(fn, call) }));
      if (places.length === 0) return missing(name, `has no call of ${callee}${INLINED}`);
      // All of them or none: a return that is overlooked is a request that is.
      return places.every(isFound)
        ? places.map(({ fn, at }) => placeAt(fn, at))
        : missing(name, `has code behind the call of ${callee} that is not understood`);
    },
  };
}

/**
 * On the call of `publish` that directly follows storing the new goroutine's id, in `create` or where that is inlined:
 * the goroutine is complete and in AX. So since Go 1.24; before, the id was stored after publishing.
 */
export function atCreation(publish: string, create: string, creator: string): PlaceSearch {
  return {
    functionNames: [creator, create, publish],
    where: `seen at the call of ${publish} in ${create}`,
    run(functions, goidOffset) {
      const isOutOfLine = isReached(functions, [creator, create]);
      const places = named(functions, isOutOfLine ? create : creator).flatMap((fn) => {
        const calls = named(functions, publish).flatMap((target) => branchesTo(fn, target));
        return calls.filter((at) => storesSinceCall(fn, at).has(goidOffset)).map((at) => placeAt(fn, at));
      });
      return places.length > 0
        ? places
        : missing(create, `does not call ${publish} with a complete goroutine`);
    },
  };
}

const NO_STACK_CHECK = 'does not begin with the stack check of Go functions';

/** Undefined when there is none; wrappers for assembly callers have the same name and no such check. */
function stackChecksOf(fns: readonly GoFunction[]): readonly Place[] | undefined {
  const places = fns.flatMap((fn) => {
    const at = stackCheckBranch(fn);
    return at === undefined ? [] : [{ ...placeAt(fn, at), guarded: true }];
  });
  return places.length > 0 ? places : undefined;
}

function isFound(place: { fn: GoFunction; at: number | undefined }): place is { fn: GoFunction; at: number } {
  return place.at !== undefined;
}

/** Undefined when control reaches it. */
function notReached(functions: GoFunctions, name: string, path: readonly string[]): Missing | undefined {
  // The compiler inlines no function that defers: where there is one, it is called.
  if (named(functions, name).some(({ defers }) => defers)) return undefined;
  const first = path[0];
  if (first === undefined) return missing(name, 'may be inlined into its callers: it does not defer');
  if (named(functions, first).length === 0) return absent(first);
  return isReached(functions, [...path, name])
    ? undefined
    : missing(name, `is not called by ${first}${INLINED}`);
}

/** Each calls the next, or has it inlined and calls one of those behind it. In Go's sources each does so once. */
function isReached(functions: GoFunctions, path: readonly string[]): boolean {
  for (let i = 0; i < path.length - 1; ) {
    const next = path.findIndex((name, j) => j > i && calls(functions, path[i]!, name));
    if (next < 0) return false;
    i = next;
  }
  return true;
}

function calls(functions: GoFunctions, caller: string, callee: string): boolean {
  return named(functions, caller).some((from) =>
    named(functions, callee).some((to) => from !== to && branchesTo(from, to).length > 0),
  );
}

/** Displacements of the 64-bit stores between the last call before `end` and `end`. */
function storesSinceCall(fn: GoFunction, end: number): ReadonlySet<number> {
  const stored = new Set<number>();
  for (const instruction of instructionsOf(fn)) {
    if (instruction.at >= end) break;
    if (fn.code[instruction.at] === CALL_REL32) stored.clear();
    const displacement = storeDisplacement(fn, instruction);
    if (displacement !== undefined) stored.add(displacement);
  }
  return stored;
}

const CALL_REL32 = 0xe8;

function named(functions: GoFunctions, name: string): readonly GoFunction[] {
  return functions.get(name) ?? [];
}

function placeAt(fn: GoFunction, at: number): Place {
  return { fileOffset: BigInt(fn.fileOffset + at), functionName: fn.name, guarded: false };
}

function missing(functionName: string, reason: string): Missing {
  return { functionName, reason, isAbsent: false };
}

function absent(functionName: string): Missing {
  return { functionName, reason: 'is not in the executable', isAbsent: true };
}
