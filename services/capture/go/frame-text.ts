// A chain of call stacks as text, in the form in which Go prints a goroutine's.
import { type Frame, isWrapper } from './frame.ts';

const MAX_BYTES = 8 << 10;
const ELIDED = '...additional frames elided...\n';

/** As callerOf() takes it. Ends at a whole frame when it gets longer than 8 KiB. */
export function stackText(chain: readonly (readonly Frame[])[]): string {
  let text = '';
  let bytes = ELIDED.length;
  for (const [depth, stack] of chain.entries())
    for (const [i, frame] of stack.filter(isShown).entries()) {
      const started = depth > 0 && i === 0 ? 'created by ' : '';
      const entry = `${started}${frame.function}\n\t${frame.file || '?'}:${frame.line}\n`;
      bytes += Buffer.byteLength(entry);
      if (bytes > MAX_BYTES) return text + ELIDED;
      text += entry;
    }
  return text;
}

/** Go leaves out wrappers and the runtime's own functions, such as those that a goroutine starts and ends in. */
function isShown(frame: Frame): boolean {
  return !isWrapper(frame) && !/^runtime\.[^A-Z]/.test(frame.function);
}
