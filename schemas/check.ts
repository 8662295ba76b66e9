// One answer of `flowtag check-host`, a JSON line on its stdout; `flowtag doctor` shows them.
import { z } from 'zod';

export const check = z.object({
  name: z.string(),
  state: z.enum(['ok', 'warn', 'fail']),
  detail: z.string(),
  /** What to do about it; '' when it is ok. */
  cure: z.string(),
});
export type Check = z.infer<typeof check>;
