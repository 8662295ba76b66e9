import { FlowtagError } from '../runtime/errors.ts';

/** What was typed cannot be understood: exit code 2. */
export class UsageError extends FlowtagError {
  constructor(message: string) {
    super('USAGE', message, { exitCode: 2 });
  }
}
